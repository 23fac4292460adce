import ClusterModel
import Coordination
import WireProtocol

/// Two regions of two: east-1, east-2 (ranks 0, 1) and west-1, west-2 (ranks 2, 3).
enum Fixtures {
    /// 75,000 elements per owner in pool scope: two chunks each, the second one short.
    static let parameterCount: UInt64 = 300_000
    static let configurationDigest: UInt64 = 0xC0FF_EE00

    static func topology(_ sizes: [Int] = [2, 2]) -> Topology {
        let names = ["east", "west", "south"]
        return Topology(
            regions: sizes.enumerated().map { index, size in
                Topology.Region(
                    name: names[index],
                    workers: (1...size).map {
                        Topology.Worker(
                            name: "\(names[index])-\($0)", microBatch: 2, nominalStep: .zero)
                    })
            }, links: [], coordinatorRegion: RegionID(0))
    }

    static func configuration(
        outer: RunConfiguration.Schedule.Outer = .diloco,
        inner: RunConfiguration.Schedule.Inner = .everyStep, syncEvery: UInt32 = 2,
        steps: UInt32 = 6, minimumWorkers: Int = 1
    ) -> RunConfiguration {
        var training = RunConfiguration.Training.standard
        training.evaluateEvery = 0
        training.checkpointEvery = 0
        var deadlines = RunConfiguration.Deadlines.standard
        deadlines.minimumWorkers = minimumWorkers
        return RunConfiguration(
            name: "test", seed: 7, steps: steps, model: .standard, training: training,
            schedule: RunConfiguration.Schedule(
                inner: inner, outer: outer, syncEvery: syncEvery, outerLearningRate: 0.7,
                outerMomentum: 0.9),
            wire: RunConfiguration.Wire(insideRegion: .fp32, betweenRegions: .int8),
            deadlines: deadlines, data: .gcide)
    }

    static func coordinator(
        _ configuration: RunConfiguration = configuration(), sizes: [Int] = [2, 2],
        parameterCount: UInt64 = parameterCount
    ) -> Coordinator {
        Coordinator(
            configuration: configuration, topology: topology(sizes), configurationText: "{}",
            configurationDigest: configurationDigest, parameterCount: parameterCount)
    }

    static func key(_ seat: Int) -> PublicKey {
        PublicKey(bytes: Array(repeating: UInt8(seat + 1), count: PublicKey.byteCount))!
    }

    /// What a worker that holds `round` and `step` says; `stateDigest` 0 means it holds nothing.
    static func hello(
        _ seat: (id: WorkerID, region: RegionID, worker: Topology.Worker), region: String = "",
        round: UInt32 = 0, step: UInt64 = 0, stateDigest: UInt64 = 0,
        parameterCount: UInt64 = parameterCount
    ) -> Hello {
        Hello(
            minVersion: 1, maxVersion: 1, worker: seat.worker.name, region: region,
            endpoint: "tcp://\(seat.worker.name):7000", dataKey: key(Int(seat.id.rawValue)),
            parameterCount: parameterCount, configurationDigest: configurationDigest,
            round: round, step: step, stateDigest: stateDigest, samples: 0, sentAt: .zero)
    }

    static func member(
        _ rank: Int, seat: Int, region: Int, configuration: RunConfiguration
    ) -> PlanMember {
        let name = topology().regions[region].name
        return PlanMember(
            rank: Rank(rank), workerID: WorkerID(seat), region: RegionID(region),
            name: "\(name)-\(seat % 2 + 1)", endpoint: "tcp://worker-\(seat):7000",
            dataKey: key(seat), incarnation: Incarnation(rawValue: 1), microBatch: 2,
            sampleOffset: UInt32(2 * seat), syncEvery: configuration.schedule.syncEvery,
            overlap: UInt16(configuration.schedule.overlap), lastStep: configuration.steps,
            state: .ready, stateSource: .none)
    }

    /// A plan of `seats` of the two regions of two.
    static func plan(
        version: UInt32 = 1, seats: [Int] = [0, 1, 2, 3], elements: UInt64 = parameterCount,
        configuration: RunConfiguration = configuration(syncEvery: 1)
    ) -> Plan {
        Plan(
            planVersion: version, activateAtRound: 0,
            members: seats.enumerated().map {
                member($0, seat: $1, region: $1 / 2, configuration: configuration)
            },
            fragments: FragmentLayout.ranges(
                of: configuration.model, elements: elements,
                fragments: configuration.schedule.fragments
            ).enumerated().map { index, ranges in
                PlanFragment(
                    id: FragmentID(index), round: 1,
                    ranges: ranges.map {
                        ElementRange(start: $0.lowerBound, count: $0.upperBound - $0.lowerBound)
                    })
            }, regionTransform: .fp32, poolTransform: .int8, samplesPerStep: 8)
    }

    static func payload(
        _ handle: UInt64, elements: UInt64, transform: TransformID = .fp32
    ) -> EncodedPayload {
        EncodedPayload(
            handle: PayloadHandle(rawValue: handle), bytes: Int(elements) * 4,
            elements: UInt32(elements), transform: transform, stage: .stored)
    }
}

extension Instant {
    static func at(_ seconds: Double) -> Instant { .zero + Interval(seconds: seconds) }
}
