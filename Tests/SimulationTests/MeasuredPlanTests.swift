import ClusterModel
import Simulation
import Testing

/// Encodings of links and H_r that follow what was measured.
@Suite struct MeasuredPlanTests {
    private func reasons(_ result: SimulationResult, _ kind: String) -> [(at: Double, text: String)]
    {
        result.events.compactMap { stamped in
            guard case .epochStarted(_, _, let reason) = stamped.event, reason.contains(kind) else {
                return nil
            }
            return ((stamped.time - .zero).seconds, reason)
        }
    }

    private func commits(_ result: SimulationResult) -> [Double] {
        result.events.compactMap {
            if case .roundCommitted = $0.event { ($0.time - .zero).seconds } else { nil }
        }
    }

    private func bytes(_ result: SimulationResult) -> UInt64 {
        result.events.reduce(0) {
            if case .linkUse(let use) = $1.event { $0 + use.bytes } else { $0 }
        }
    }

    // MARK: Encodings

    /// 200 Mbit/s that fall to 20 after 25 s; bf16 takes .07 of .1 s, then not even int4 fits.
    private func fallingLink(_ isAuto: Bool, returns: Bool = false) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(
            workers: [2, 2], rate: 200_000_000, step: .seconds(1))
        var fall = LinkChange(at: .seconds(25))
        fall.rate = 20_000_000
        if returns { fall.duration = .seconds(25) }
        scenario.topology.links[0].changes = [fall]
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 120, inner: .everyStep, outer: .diloco, syncEvery: 10)
        scenario.configuration.schedule.adapts = true
        scenario.configuration.wire.betweenRegions = .bf16
        if isAuto { scenario.configuration.wire.choosesBetween = true }
        scenario.options.payloads = .modelled(parameters: 450_000)
        scenario.options.cost.overhead = .zero
        return scenario
    }

    @Test func aLinkThatFallsGetsASmallerEncoding() throws {
        let fixed = fallingLink(false).simulator().run()
        let auto = fallingLink(true).simulator().run()
        #expect(auto.findings == [] && auto.code == .ok)
        #expect(reasons(fixed, "codec").isEmpty)
        let changes = reasons(auto, "codec")
        let first = try #require(changes.first)
        #expect(first.text.hasPrefix("codec: r0-r1: bf16 -> int4, because the link carries "))
        #expect(first.text.contains("the round has 100 ms; r1-r0: bf16 -> int4"))
        // Measured with the first round after the fall.
        let after = commits(auto).filter { $0 > 25 }
        #expect(first.at > 25 && first.at <= (after.dropFirst().first ?? 0))
        #expect(changes.count == 1)
        // Five of twelve rounds as bf16, the rest as int4: a quarter.
        #expect(bytes(auto) < bytes(fixed) * 6 / 10)
    }

    @Test func aLinkThatComesBackGetsItsEncodingBackLater() throws {
        let result = fallingLink(true, returns: true).simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        let changes = reasons(result, "codec")
        #expect(changes.count == 2)
        let last = try #require(changes.last)
        #expect(last.text.contains("r0-r1: int4 -> "))
        // Three rounds in a row that had time for more.
        #expect(commits(result).filter { $0 > 50 && $0 <= last.at }.count >= 3)
    }

    @Test func withoutMeasuringNothingChanges() {
        var scenario = fallingLink(true)
        scenario.configuration.schedule.adapts = false
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(reasons(result, "codec").isEmpty)
    }

    // MARK: H

    private func slowing(_ localSteps: RunConfiguration.Schedule.LocalSteps) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: [1, 1], microBatches: [2])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 160, inner: .everyStep, outer: .diloco, syncEvery: 8)
        scenario.configuration.schedule.adapts = true
        scenario.configuration.schedule.localSteps = localSteps
        scenario.fault(3, .slowWorker(worker: 1, factor: 4, .seconds(200)))
        return scenario
    }

    @Test func aSlowReplicaTakesFewerStepsWithinTwoRounds() throws {
        let equal = slowing(.equal).simulator().run()
        let measured = slowing(.measured).simulator().run()
        #expect(equal.findings == [] && equal.code == .ok)
        #expect(measured.findings == [] && measured.code == .ok)
        #expect(reasons(equal, "local steps").isEmpty)
        let change = try #require(reasons(measured, "local steps").last)
        #expect(change.text.contains("r1: H "))
        #expect(change.text.contains(" -> 2 of 8, measured "))
        // A round is as long as before: 8 steps of .1 s, and a round trip or two.
        let times = commits(measured)
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        let settled = gaps.suffix(5)
        #expect(settled.allSatisfy { $0 < 1.2 }, "\(gaps)")
        // Four times as long without.
        let slow = commits(equal)
        #expect(zip(slow.dropFirst(), slow).map { $0 - $1 }.suffix(5).allSatisfy { $0 > 3 })
        // Everybody's last round is the run's last: as many as planned.
        #expect(times.count == 20)
        let slowdown = times.filter { $0 > 3 }
        let planned = try #require(reasons(measured, "local steps").first)
        #expect(planned.at <= slowdown[1])
    }

    @Test func aReplicaThatRecoversTakesItsStepsBack() {
        var scenario = slowing(.measured)
        scenario.options.faults = []
        scenario.fault(3, .slowWorker(worker: 1, factor: 4, .seconds(10)))
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(reasons(result, "local steps").last?.text.contains(" -> 8 of 8") == true)
    }

    @Test func unlikeReplicasWithFragmentsArriveTogether() {
        var scenario = slowing(.measured)
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: 160, inner: .everyStep, outer: .streaming, syncEvery: 8, fragments: 2,
            overlap: 1)
        scenario.configuration.schedule.adapts = true
        scenario.configuration.schedule.localSteps = .measured
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(reasons(result, "local steps").last?.text.contains(" -> 2 of 8") == true)
    }

    @Test func aMemberThatDiesOrJoinsMeanwhileCostsNothing() {
        for (moment, fault) in [
            (4.0, Fault.crash(worker: 2)), (6, .restart(worker: 1, resume: false)),
        ] {
            for delay in 0..<8 {
                var scenario = slowing(.measured)
                scenario.topology = SampleCluster.topology(workers: [2, 1, 1], microBatches: [2])
                scenario.fault(moment + 0.4 * Double(delay), fault)
                let result = scenario.simulator().run()
                #expect(result.findings == [], "\(fault) + \(delay)")
                #expect(result.code == .ok)
            }
        }
    }
}
