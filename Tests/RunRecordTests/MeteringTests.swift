import ClusterModel
import RunRecord
import Testing

/// Energy, cost and the share of the cores, from the events of a run.
struct MeteringTests {
    private var events: [StampedEvent] {
        var run = SyntheticRun()
        run.steps = 30
        return run.events.map { stamped in
            guard case .runStarted(var started) = stamped.event else { return stamped }
            var devices = ["lab", "lab", nil, "city"].map { owner in
                var device = Device(name: "d")
                (device.idleWatts, device.busyWatts) = (100, 300)
                device.price = .init(perHour: 2, currency: "EUR")
                device.organisation = owner
                return device
            }
            devices[3].busyWatts = nil
            devices[3].idleWatts = nil
            for seat in 0..<4 {
                started.topology.regions[seat / 2].workers[seat % 2].device = devices[seat]
            }
            started.sharedCores = 2
            var changed = stamped
            changed.event = .runStarted(started)
            return changed
        }
    }

    @Test func energyIsPowerTimesTime() throws {
        let summary = try RunSummary(events: events)
        let metering = try #require(summary.metering)
        let budget = try #require(summary.workers[0].budget)
        let busy =
            budget.computeSeconds + budget.encodeSeconds + budget.decodeSeconds
            + budget.applySeconds
        let row = metering.workers[0]
        #expect(abs(row.busySeconds - busy) < 1e-9)
        #expect(abs(row.busySeconds + row.idleSeconds - budget.wallSeconds) < 1e-6)
        let energy = (300 * row.busySeconds + 100 * row.idleSeconds) / 3600
        #expect(abs((row.wattHours ?? 0) - energy) < 1e-9)
        #expect(abs((row.cost ?? 0) - 2 * budget.wallSeconds / 3600) < 1e-9)
        #expect(metering.organisations.map(\.name) == ["lab", "-", "city"])
        // A sum over a machine without power figures would be too small: there is none.
        #expect(metering.total.wattHours == nil)
        #expect(metering.regions.map { $0.wattHours != nil } == [true, false])
        #expect(
            abs((metering.total.cost ?? 0) - metering.workers.compactMap(\.cost).reduce(0, +))
                < 1e-12)
    }

    @Test func viewsSayThatItIsTheProfiles() throws {
        let summary = try RunSummary(events: events)
        #expect(SummaryText.render(summary).contains("from the profile, not measured"))
        #expect(HTMLReport.render(summary).contains("Energy and cost"))
        let plain = try RunSummary(events: SyntheticRun().events)
        #expect(plain.metering == nil)
        #expect(!HTMLReport.render(plain).contains("Energy and cost"))
    }

    /// Four workers that really compute about half of the time want two cores; the machine has two.
    @Test func moreThanThreeQuartersOfTheCoresIsContended() throws {
        let summary = try RunSummary(events: events)
        #expect((summary.pool.coreShare ?? 0) > 0.9)
        #expect(summary.pool.isContended)
        #expect(HTMLReport.render(summary).contains("Contended."))
        let plain = try RunSummary(events: SyntheticRun().events)
        #expect(plain.pool.coreShare == nil && !plain.pool.isContended)
        // Where processes say what they took, that counts: a fifth of a core each, of two.
        let measured = events.map { stamped -> StampedEvent in
            guard case .budget(let worker, var budget) = stamped.event else { return stamped }
            budget.processor = Interval(nanoseconds: budget.wall.nanoseconds / 5)
            return StampedEvent(
                time: stamped.time, source: stamped.source, event: .budget(worker: worker, budget))
        }
        let share = try RunSummary(events: measured).pool.coreShare
        #expect(abs((share ?? 0) - 4 * 0.2 / 2) < 1e-6)
    }
}
