import ClusterModel
import Simulation
import Testing

/// The three fidelities tell the same story on clusters that all of them can do.
@Suite struct FidelityTests {
    typealias Outer = RunConfiguration.Schedule.Outer

    /// Two regions of two workers over 20 Mbit/s, as `Cluster/shanghai-jinan.yaml`.
    private static let pair = SampleCluster.topology(
        workers: [2, 2], rate: 20_000_000, step: .milliseconds(200), microBatches: [6, 4])
    /// Three unlike regions over unlike links.
    private static let triangle: Topology = {
        var topology = SampleCluster.topology(
            workers: [3, 1, 4], rate: 100_000_000, step: .milliseconds(150))
        topology.links[1].rate = 40_000_000
        topology.links[1].oneWayDelay = .milliseconds(40)
        topology.links[2].rate = 300_000_000
        topology.regions[2].workers[1].nominalStep = .milliseconds(190)
        return topology
    }()

    private func configuration(
        _ outer: Outer, _ inner: RunConfiguration.Schedule.Inner
    ) -> RunConfiguration {
        var configuration = SampleCluster.configuration(
            seed: 7, steps: 40, inner: inner, outer: outer,
            syncEvery: outer == .everyStep ? 1 : 10)
        configuration.wire.betweenRegions = outer == .diloco ? .int8 : .fp32
        configuration.training.checkpointEvery = 5
        configuration.training.evaluateEvery = 100
        return configuration
    }

    private func run(
        _ fidelity: Fidelity, _ topology: Topology, _ configuration: RunConfiguration,
        parameters: UInt64 = 480_000, change: (inout SimulationOptions) -> Void = { _ in }
    ) -> SimulationResult {
        var options = SimulationOptions(seed: 7, payloads: .modelled(parameters: parameters))
        options.checks = false
        options.fidelity = fidelity
        change(&options)
        switch fidelity {
        case .chunk, .slice:
            return Simulator(
                topology: topology, configuration: configuration, options: options
            ).run()
        case .round:
            return RoundSimulator(
                topology: topology, configuration: configuration, options: options
            ).run()
        }
    }

    private func expectAgreement(
        _ a: SimulationResult, _ b: SimulationResult, within tolerance: Double,
        _ what: Comment
    ) {
        #expect(a.code == .ok && b.code == .ok, what)
        #expect(a.committedRounds == b.committedRounds, what)
        #expect(a.digest == b.digest, what)
        #expect(
            abs(b.roundSeconds / a.roundSeconds - 1) < tolerance,
            "\(what): \(a.roundSeconds) s, \(b.roundSeconds) s")
        let (before, after) = (a.linkBytes, b.linkBytes)
        #expect(before.count >= 2, what)
        #expect(before.map(\.name) == after.map(\.name), what)
        for (one, other) in zip(before, after) {
            #expect(
                abs(Double(other.bytes) / Double(one.bytes) - 1) < 0.015,
                "\(what): \(one.name) \(one.bytes) bytes, \(other.bytes) bytes")
        }
    }

    @Test(
        arguments: [Outer.everyStep, .localSGD, .diloco],
        RunConfiguration.Schedule.Inner.allCases)
    func `slice and round agree with chunk`(
        outer: Outer, inner: RunConfiguration.Schedule.Inner
    ) {
        for (name, topology) in [("pair", Self.pair), ("triangle", Self.triangle)] {
            let configuration = configuration(outer, inner)
            let chunk = run(.chunk, topology, configuration)
            #expect(chunk.committedRounds == (outer == .everyStep ? 40 : 4))
            expectAgreement(
                chunk, run(.round, topology, configuration), within: 0.05,
                "round \(name) \(inner) \(outer)")
            // The first member of a region gets the last mean a frame before the last one, and that
            // frame is longer here: where every worker is a replica it starts earlier. Slices of unlike
            // size (the triangle's) pipeline less, and have fewer headers.
            expectAgreement(
                chunk, run(.slice, topology, configuration), within: 0.12,
                "slice \(name) \(inner) \(outer)")
        }
    }

    /// Its mean is what its parts make, in the encoding inside regions, and nobody reduces it again. A chunk
    /// per owner, and passes so slow that one more would tell.
    @Test func `one region that shares every step`() {
        var topology = SampleCluster.topology(workers: [3], step: .milliseconds(5))
        topology.regions[0].workers[1].nominalStep = .milliseconds(6)
        var configuration = configuration(.everyStep, .everyStep)
        func seconds(_ fidelity: Fidelity, between: TransformID) -> Double {
            configuration.wire.betweenRegions = between
            let result = run(fidelity, topology, configuration, parameters: 196_608) {
                $0.cost.reduceRate = 10_000_000
            }
            #expect(result.code == .ok && result.committedRounds == 40)
            return result.roundSeconds
        }
        let (chunk, round) = (seconds(.chunk, between: .int4), seconds(.round, between: .int4))
        #expect(abs(round / chunk - 1) < 0.05, "\(chunk) s, \(round) s")
        #expect(round == seconds(.round, between: .fp32))
    }

    @Test func `a slice is one frame`() {
        let configuration = configuration(.diloco, .everyStep)
        let chunk = run(.chunk, Self.pair, configuration, parameters: 4_000_000)
        let slice = run(.slice, Self.pair, configuration, parameters: 4_000_000)
        #expect(slice.committedRounds == chunk.committedRounds)
        #expect(4 * slice.occurrences < chunk.occurrences)
    }

    @Test func `200 workers in 10 regions commit 5 rounds in few events`() {
        let topology = SyntheticCluster.topology(
            workers: 200, regions: 10, rate: 1_000_000_000, distance: 1_500, seed: 1)
        #expect(topology.seats.count == 200)
        #expect(topology.regions.allSatisfy { !$0.workers.isEmpty })
        let configuration = SyntheticCluster.configuration(seed: 1, rounds: 5)
        let parameters = configuration.model.parameterCount
        let result = run(.round, topology, configuration, parameters: parameters)
        #expect(result.code == .ok)
        #expect(result.committedRounds == 5)
        let commits = result.count {
            if case .roundCommitted(_, _, 200, _) = $0 { true } else { false }
        }
        #expect(commits == 5)
        let again = run(.round, topology, configuration, parameters: parameters)
        #expect(again.traceHash == result.traceHash)
        // Steps, reports, commits, and two events for a heartbeat a second of each worker.
        let steps = 200 * 50 + 10 * 50
        let beats = Int(result.virtualTime.nanoseconds / 1_000_000_000 + 1) * 2 * 200
        #expect(result.occurrences < steps + beats + 5 * 2 * 200 + 8 * 200 + 100_000 / 50)
    }

    @Test func `above 1,000 workers a region's step is one event`() {
        let topology = SyntheticCluster.topology(
            workers: 1_001, regions: 8, rate: 10_000_000_000, distance: 500, seed: 2)
        for inner in RunConfiguration.Schedule.Inner.allCases {
            var configuration = SyntheticCluster.configuration(seed: 2, rounds: 2)
            configuration.schedule.inner = inner
            let result = run(.round, topology, configuration, parameters: 2_000_000)
            #expect(result.code == .ok)
            #expect(result.committedRounds == 2)
            let told = result.count { if case .stepped = $0 { true } else { false } }
            #expect(told == 2 * 1_001)
        }
    }
}

extension SimulationResult {
    /// Mean time between commits.
    fileprivate var roundSeconds: Double {
        let times = events.compactMap { event -> Double? in
            if case .roundCommitted = event.event {
                Double(event.time.nanoseconds) / 1e9
            } else {
                nil
            }
        }
        guard let first = times.first, let last = times.last, times.count > 1 else { return 0 }
        return (last - first) / Double(times.count - 1)
    }

    fileprivate var linkBytes: [(name: String, bytes: UInt64)] {
        events.compactMap { event in
            guard case .linkUse(let use) = event.event else { return nil }
            return ("\(use.from.rawValue)-\(use.to.rawValue)", use.bytes)
        }
    }
}

/// What fidelity `round` cannot do ends with a reason.
@Suite struct FidelityLimitTests {
    private func run(
        workers: Int, regions: Int, rate: UInt64
    ) -> SimulationResult {
        let configuration = SyntheticCluster.configuration(seed: 1, rounds: 2)
        var options = SimulationOptions(
            seed: 1, payloads: .modelled(parameters: configuration.model.parameterCount))
        options.checks = false
        options.fidelity = .round
        return RoundSimulator(
            topology: SyntheticCluster.topology(
                workers: workers, regions: regions, rate: rate, distance: 1_500, seed: 1),
            configuration: configuration, options: options
        ).run()
    }

    @Test func `a GO that reaches the members of a region far apart`() {
        let result = run(workers: 10, regions: 4, rate: 10_000)
        #expect(result.findings == [])
        #expect(result.code == .ok || result.reason.contains("fidelity round"))
        let wide = run(workers: 1_000, regions: 10, rate: 1_000_000)
        #expect(wide.findings == [])
        #expect(wide.code == .ok || wide.reason.contains("fidelity round"))
    }

    @Test func `links too slow for the control plane end the run with a reason`() {
        let result = run(workers: 1_000, regions: 4, rate: 100_000)
        #expect(result.code == .unavailable)
        #expect(result.reason.contains("one membership"), "\(result.reason)")
    }
}
