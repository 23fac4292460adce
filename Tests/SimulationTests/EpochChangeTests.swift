import ClusterModel
import Simulation
import Testing

/// A death in the middle of a collective: how long until everybody goes on.
@Suite struct EpochChangeTests {
    /// Two regions of two, a megabyte a round over 100 Mbit/s: the exchange lasts longer than a round trip.
    private func scenario(_ roundTrip: Int64, _ seed: UInt64) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 2], oneWay: .milliseconds(roundTrip / 2), rate: 100_000_000)
        scenario.configuration = SampleCluster.configuration(
            seed: seed, steps: 12, inner: .everyStep, outer: .diloco, syncEvery: 2)
        scenario.options = SimulationOptions(seed: seed, payloads: .modelled(parameters: 1_000_000))
        scenario.options.livenessBound = .seconds(400)
        scenario.options.notesFrames = true
        scenario.options.cost.stepSpread = 0.2
        return scenario
    }

    private struct Change {
        /// From the coordinator's eviction to the last member's GO.
        var toLastGo: Interval
        /// From there to the commit of the round that was under way or came next.
        var toCommit: Interval?
    }

    private func change(_ result: SimulationResult) -> Change? {
        guard
            let evicted = result.events.first(where: {
                if case .workerEvicted = $0.event { true } else { false }
            })
        else { return nil }
        let gone = result.events.filter {
            guard $0.time > evicted.time, case .note("wire", let text) = $0.event else {
                return false
            }
            return text.contains("coordinator -> worker") && text.contains(" go(")
        }
        guard let last = gone.last else { return nil }
        let commit = result.events.first {
            if case .roundCommitted = $0.event { $0.time > last.time } else { false }
        }
        return Change(
            toLastGo: last.time - evicted.time, toCommit: commit.map { $0.time - last.time })
    }

    /// Everybody owns a slice, contributes and passes on for its region; so each death takes one of each,
    /// at moments that fall before, into and after every phase of the exchange.
    @Test(arguments: [30, 150] as [Int64], [0, 1, 2, 3])
    func `is over within a round trip and a second`(roundTrip: Int64, seat: Int) throws {
        var worst = Interval.zero
        var worstCommit = Interval.zero
        var deaths = 0
        for seed in [1, 2, 3] as [UInt64] {
            let calm = scenario(roundTrip, seed).simulator().run()
            let commits = calm.events.filter {
                if case .roundCommitted = $0.event { true } else { false }
            }
            let (from, to) = (commits[1].time, commits[2].time)
            let period = to - from
            for moment in 0..<16 {
                var disturbed = self.scenario(roundTrip, seed)
                let at = from + Interval(nanoseconds: period.nanoseconds * Int64(moment) / 16)
                disturbed.options.faults = [TimedFault(at: at, fault: .crash(worker: seat))]
                let result = disturbed.simulator().run()
                #expect(result.findings == [])
                #expect(result.code == .ok)
                let found = try #require(change(result), "seed \(seed), moment \(moment)")
                deaths += 1
                worst = max(worst, found.toLastGo)
                #expect(found.toLastGo <= .milliseconds(roundTrip) + .seconds(1))
                // Completed or begun again, the round takes no longer than one takes undisturbed, and
                // what is left of the steps before it.
                if let commit = found.toCommit {
                    worstCommit = max(worstCommit, commit)
                    #expect(commit.nanoseconds <= 3 * period.nanoseconds)
                }
            }
        }
        print(
            "RTT \(roundTrip) ms, worker \(seat), \(deaths) deaths: last GO at most",
            "\(worst.seconds) s after the eviction, next commit \(worstCommit.seconds) s after it")
    }
}
