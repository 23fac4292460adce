import ClusterModel

/// Events of a run that never was, with figures that can be reckoned by hand: two regions of two
/// workers, unlike batches, an outer round every `syncEvery` steps.
struct SyntheticRun {
    var steps: UInt32 = 60
    var syncEvery: UInt32 = 30
    var batches = [6, 4, 4, 2]
    var stepNanoseconds: Int64 = 200_000_000
    /// Per outer round: encode, wait, transfer, decode, apply.
    var roundNanoseconds: [Int64] = [5_000_000, 20_000_000, 190_000_000, 5_000_000, 5_000_000]
    var startNanoseconds: Int64 = 2_000_000_000
    var isComplete = true
    /// How late the coordinator hears of `step`; nil: at once, and the event has no time of its own.
    var lateness: ((_ step: UInt32) -> Int64)?
    var model = RunConfiguration.Model.standard
    /// Loss of `worker` at `step`.
    var loss: (_ worker: Int, _ step: UInt32) -> Double = { worker, step in
        5 - 0.01 * Double(step) + 0.1 * Double(worker)
    }
    var extra: [StampedEvent] = []

    static let context = 128
    static let bytesPerRound: UInt64 = 490_000
    static let relayBytesPerRound: UInt64 = 500_000

    var topology: Topology {
        let names = [["shanghai-1", "shanghai-2"], ["jinan-1", "jinan-2"]]
        let regions = ["shanghai", "jinan"].enumerated().map { region, name in
            Topology.Region(
                name: name,
                workers: names[region].enumerated().map { index, worker in
                    Topology.Worker(
                        name: worker, microBatch: batches[2 * region + index],
                        nominalStep: Interval(nanoseconds: stepNanoseconds))
                })
        }
        return Topology(
            regions: regions,
            links: [
                Topology.Link(
                    a: RegionID(0), b: RegionID(1), distanceKilometres: 1500,
                    oneWayDelay: .milliseconds(15), rate: 20_000_000, jitter: .zero,
                    queueBytes: 75_000)
            ], coordinatorRegion: RegionID(0))
    }

    var configuration: RunConfiguration {
        RunConfiguration(
            name: "shanghai-jinan", seed: 7, steps: steps, model: model, training: .standard,
            schedule: .init(
                inner: .everyStep, outer: .diloco, syncEvery: syncEvery, outerLearningRate: 0.7,
                outerMomentum: 0.9), wire: .init(insideRegion: .fp32, betweenRegions: .int8),
            deadlines: .standard, data: .gcide)
    }

    static func digest(_ round: UInt32) -> UInt64 { 0x0123_4567_89AB_0000 + UInt64(round) }

    func at(_ nanoseconds: Int64, _ event: RunEvent) -> StampedEvent {
        StampedEvent(time: Instant(nanoseconds: nanoseconds), source: "coordinator", event: event)
    }

    var events: [StampedEvent] {
        var events = opening
        var now = startNanoseconds
        for step in 1...steps {
            now += stepNanoseconds
            for worker in 0..<4 {
                let tokens = UInt64(batches[worker] * Self.context)
                events.append(
                    at(
                        now + (lateness?(step) ?? 0),
                        .stepped(
                            worker: WorkerID(worker), step: step, loss: loss(worker, step),
                            tokens: tokens,
                            at: lateness.map { _ in Instant(nanoseconds: now) })))
            }
            if step.isMultiple(of: syncEvery) {
                now += roundNanoseconds.reduce(0, +)
                events += round(step / syncEvery, at: now)
            }
            if step.isMultiple(of: 5) { events += readings(step: step, at: now) }
        }
        events += closing(at: now)
        return (events + extra).enumerated()
            .sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
            .map(\.element)
    }

    private var opening: [StampedEvent] {
        let started = RunEvent.RunStarted(
            run: RunID(rawValue: 0xABCD), version: "1.0.0",
            command: ["longhaul", "up", "Cluster/shanghai-jinan.yaml", "--name", "two words"],
            configuration: configuration, topology: topology, emulated: true, curve: true,
            parameterCount: configuration.model.parameterCount,
            machine: "Debian 12, 2 cores <test & measure>")
        let joins = topology.seats.map { seat in
            at(
                500_000_000,
                .workerJoined(
                    worker: seat.id, name: seat.worker.name, region: seat.region,
                    incarnation: Incarnation(rawValue: 1)))
        }
        return [at(0, .runStarted(started))] + joins + [
            at(900_000_000, .note(source: "shanghai-1", text: "kernels: AVX-512")),
            at(
                1_000_000_000,
                .epochStarted(
                    epoch: Epoch(rawValue: 1), members: topology.seats.map(\.id),
                    reason: "all seats are taken")),
        ]
    }

    private func round(_ number: UInt32, at now: Int64) -> [StampedEvent] {
        let key = CollectiveKey.outer(fragment: FragmentID(0), round: number)
        let evaluated = (0..<4).map { worker in
            at(
                now,
                .evaluated(
                    worker: WorkerID(worker), step: number * syncEvery,
                    loss: 4.5 - 0.1 * Double(number) + (worker < 2 ? 0 : 0.2), samples: 32))
        }
        return [
            at(
                now,
                .roundCommitted(
                    key: key, digest: Self.digest(number), members: 4,
                    tokens: UInt64(syncEvery) * tokensPerStep))
        ] + evaluated
    }

    private func readings(step: UInt32, at now: Int64) -> [StampedEvent] {
        let rounds = UInt64(step / syncEvery)
        var events: [StampedEvent] = []
        for (from, to) in [(0, 1), (1, 0)] {
            events.append(
                at(
                    now,
                    .linkUse(
                        .init(
                            from: RegionID(from), to: RegionID(to),
                            bytes: rounds * Self.relayBytesPerRound, flows: 4,
                            peakQueueBytes: 40_000))))
            for worker in [2 * from, 2 * from + 1] {
                events.append(
                    at(
                        now,
                        .traffic(
                            worker: WorkerID(worker),
                            .init(
                                toRegion: RegionID(to), frames: 8 * rounds,
                                bytes: rounds * Self.bytesPerRound / 2, resent: 0,
                                values: rounds * 240_000, encodedBytes: rounds * 243_750))))
            }
        }
        return events + (0..<4).map { at(now, .budget(worker: WorkerID($0), budget(step: step))) }
    }

    func budget(step: UInt32) -> RunEvent.TimeBudget {
        let rounds = Int64(step / syncEvery)
        var budget = RunEvent.TimeBudget()
        budget.compute = Interval(nanoseconds: Int64(step) * stepNanoseconds)
        budget.paced = Interval(nanoseconds: Int64(step) * stepNanoseconds / 2)
        budget.encode = Interval(nanoseconds: rounds * roundNanoseconds[0])
        budget.wait = Interval(nanoseconds: rounds * roundNanoseconds[1])
        budget.transfer = Interval(nanoseconds: rounds * roundNanoseconds[2])
        budget.decode = Interval(nanoseconds: rounds * roundNanoseconds[3])
        budget.apply = Interval(nanoseconds: rounds * roundNanoseconds[4])
        budget.wall =
            budget.compute + budget.encode + budget.wait + budget.transfer + budget.decode
            + budget.apply
        return budget
    }

    private func closing(at now: Int64) -> [StampedEvent] {
        guard isComplete else { return [] }
        return [
            at(now + 100_000_000, .peakMemory(process: "coordinator", bytes: 41_000_000)),
            at(now + 100_000_000, .peakMemory(process: "shanghai-1", bytes: 180_000_000)),
            at(
                now + 200_000_000,
                .modelWritten(worker: WorkerID(0), path: "/run/model.safetensors", digest: 0xFEED)),
        ]
            + topology.seats.map { seat in
                at(
                    now + 300_000_000,
                    .workerLeft(
                        worker: seat.id, name: seat.worker.name, code: 17, reason: "all steps done")
                )
            } + [at(now + 400_000_000, .runEnded(code: 0, reason: "all steps done"))]
    }

    var tokensPerStep: UInt64 { UInt64(batches.reduce(0, +) * Self.context) }

    /// Training seconds: steps and blocked rounds.
    var trainingSeconds: Double {
        let rounds = Int64(steps / syncEvery)
        let blocked = rounds * roundNanoseconds.reduce(0, +)
        return Double(Int64(steps) * stepNanoseconds + blocked) / 1e9
    }
}
