package import ClusterModel

/// What a seed expands to: cluster, schedule, network and faults. A pure function of the seed, so that a
/// seed alone repeats a run.
package struct SwarmSeed: Sendable {
    package let seed: UInt64
    package let topology: Topology
    package let configuration: RunConfiguration
    package let options: SimulationOptions
    /// The run begins with the coordinator's loss and goes on in a second one, from the saved states.
    package let resumes: Bool
    /// One line per choice.
    package let description: [String]

    package init(_ seed: UInt64) {
        var dice = Dice(seed: seed)
        self.seed = seed
        let isLarge = dice.once(in: 40)
        let workers = isLarge ? dice.pick([[1, 1], [2, 1], [2]]) : Self.workers(&dice)
        var configuration = Self.configuration(seed, workers.reduce(0, +), &dice)
        if isLarge { configuration.steps = min(configuration.steps, 8) }
        // From dice of their own: all other seeds stay the runs they were.
        var others = Dice(seed: seed ^ 0x6F77_6E65_7273)
        let hasOwners = seed % 4 == 1 && workers.count > 1 && !isLarge
        if hasOwners { Self.own(&configuration, &others) }
        var topology = Self.topology(workers, &dice)
        resumes = dice.once(in: 12)
        var options = Self.network(seed, isLarge: isLarge, &dice)
        let seats = workers.reduce(0, +)
        let quiet = dice.once(in: 10)
        let end = Int(configuration.steps) * 400
        let faults = FaultDraw(
            regions: workers.count, seats: seats, until: max(2_000, min(60_000, 2 * end)))
        if !quiet {
            options.faults = faults.draw(&dice)
            if resumes, !options.faults.contains(where: { $0.fault == .crashCoordinator }) {
                let when = Instant(nanoseconds: 0) + dice.time(1_000...max(1_001, end / 2))
                options.faults.append(TimedFault(at: when, fault: .crashCoordinator))
            }
            options.starts = Self.starts(seats, &dice)
            if hasOwners, others.once(in: 2) { Self.cut(&options.faults, topology, &others) }
        }
        if dice.once(in: 4) { Self.hide(&topology, &dice) }
        // Drawn last, so that the other seeds are what they were before there was this schedule.
        if configuration.schedule.outer != .everyStep, configuration.model.experts == nil,
            dice.once(in: 3)
        {
            Self.decouple(&configuration, &topology, &dice)
        }
        var choices = Dice(seed: ~seed)
        if !isLarge { Self.measure(&configuration, &topology, &options.faults, &choices) }
        if configuration.schedule.outer == .streaming, configuration.schedule.syncEvery > 1,
            seed % 4 == 2
        {
            // Without the dice: all other seeds stay the runs they were.
            Self.chooseOverlap(&configuration, &topology)
        }
        if seed % 16 == 14, !isLarge, !resumes, workers.count > 1 {
            Self.fill(&configuration, &topology, &options, &others)
        }
        Self.spread(seed, &configuration, topology)
        options.livenessBound =
            Self.bound(topology, configuration) + Self.transfers(topology, configuration, options)
        if configuration.model.experts?.crossing != nil {
            options.livenessBound =
                (options.livenessBound ?? .zero) + Self.exchanges(topology, configuration)
            options.occurrenceLimit *= 4
        }
        self.topology = topology
        self.configuration = configuration
        self.options = options
        description = Self.describe(topology, configuration, options, resumes: resumes)
    }

    private static func workers(_ dice: inout Dice) -> [Int] {
        let regions = dice.pick([1, 2, 2, 3, 4])
        return (0..<regions).map { _ in dice.pick([1, 1, 2, 2, 3, 4]) }
    }

    private static func configuration(
        _ seed: UInt64, _ seats: Int, _ dice: inout Dice
    ) -> RunConfiguration {
        let outer = dice.pick([
            RunConfiguration.Schedule.Outer.everyStep, .localSGD, .diloco, .streaming,
        ])
        let isStreaming = outer == .streaming
        let every: UInt32 =
            outer == .everyStep
            ? 1 : isStreaming ? dice.pick([2, 3, 5, 8]) : dice.pick([1, 2, 3, 5])
        let steps: UInt32 = dice.pick([4, 8, 13, 20, 40])
        let fragments = isStreaming ? 1 + dice.below(min(4, Int(every))) : 1
        let overlap = isStreaming ? UInt32(dice.below(Int(every))) : 0
        var configuration = SampleCluster.configuration(
            seed: seed, steps: isStreaming ? (steps + every - 1) / every * every : steps,
            inner: dice.pick([.everyStep, .everyStep, .none]), outer: outer, syncEvery: every,
            minimumWorkers: dice.once(in: 4) ? max(1, seats / 2) : 1, fragments: fragments,
            overlap: overlap)
        if outer != .everyStep, outer != .localSGD {
            configuration.schedule.optimiser = dice.pick([
                .nesterov, .nesterov, .sgd, .delayedNesterov,
            ])
            configuration.schedule.momentumEvery = UInt32(dice.pick([2, 3]))
        }
        if outer != .everyStep, seed % 4 == 3 {
            // Without the dice: all other seeds stay the runs they were.
            configuration.model.experts = .init(count: 2 + Int(seed / 4 % 3), width: 8)
            let schedule = configuration.schedule
            let leavesOut = seed / 16 % 2 == 0 && schedule.optimiser != .delayedNesterov
            if leavesOut, schedule.outer == .diloco || schedule.outer == .localSGD {
                configuration.schedule.expertRounds = 2 << UInt32(seed / 32 % 3)
            }
        }
        configuration.training.checkpointEvery = UInt32(dice.pick([0, 1, 1, 3]))
        configuration.deadlines.gathering = .seconds(Int64(dice.pick([2, 10, 60])))
        return configuration
    }

    private static func topology(
        _ workers: [Int], _ dice: inout Dice
    ) -> Topology {
        return SampleCluster.topology(
            workers: workers, oneWay: .milliseconds(Int64(dice.pick([0, 1, 15, 75, 200]))),
            rate: dice.pick([200_000, 5_000_000, 100_000_000, 1_000_000_000]),
            jitter: .milliseconds(Int64(dice.pick([0, 0, 1, 20]))),
            step: .milliseconds(Int64(dice.pick([10, 100, 100, 700]))),
            microBatches: dice.pick([[2], [1, 3], [1, 2, 5]]))
    }

    /// Experts that one worker of a region computes and contributes. Without the dice, as above.
    private static func spread(
        _ seed: UInt64, _ configuration: inout RunConfiguration, _ topology: Topology
    ) {
        guard seed % 8 == 0 || seed % 8 == 3, configuration.schedule.inner == .everyStep,
            configuration.schedule.closing == nil,
            topology.regions.contains(where: { $0.workers.count > 1 })
        else { return }
        let experts = configuration.model.experts
        if experts == nil, configuration.schedule.fragments == 1 {
            configuration.model.layers = 1 + Int(seed / 32 % 2)
        }
        configuration.model.experts =
            experts ?? .init(count: 2 + Int(seed / 8 % 4), width: 8)
        configuration.model.experts?.spread = .region
        if seed % 8 == 3, configuration.greatestExpertPeriod == 1 {
            configuration.model.experts?.keep = .holder
        }
    }

    /// Experts that one region computes alone, and tokens that go there; long enough for owners, budgets, and
    /// other owners.
    private static func own(_ configuration: inout RunConfiguration, _ dice: inout Dice) {
        let every = configuration.schedule.syncEvery
        let outer = configuration.schedule.outer
        let isMean = outer == .localSGD || outer == .everyStep
        configuration.schedule = RunConfiguration.Schedule(
            inner: .everyStep, outer: isMean ? .localSGD : .diloco, syncEvery: min(every, 3),
            outerLearningRate: isMean ? 1 : 0.7, outerMomentum: isMean ? 0 : 0.9,
            adapts: dice.once(in: 2))
        configuration.steps = configuration.schedule.syncEvery * UInt32(dice.pick([8, 14, 20]))
        configuration.model.layers = 1 + dice.below(2)
        let count = 2 + dice.below(4)
        let topK = 1 + dice.below(min(2, count - 1))
        var experts = RunConfiguration.Model.Experts(count: count, topK: topK, width: 8)
        experts.crossing = RunConfiguration.Model.Experts.Crossing(
            budget: dice.pick([0.1, 0.5, nil]),
            tokens: dice.pick([nil, nil, 0, 3, 40, 1_000]),
            owned: dice.pick([nil, 1, count - topK]))
        configuration.model.experts = experts
        if dice.once(in: 2) { configuration.deadlines.patience = .seconds(1) }
    }

    /// Nothing passes between two regions while tokens cross: for so long that they are given up, or that
    /// members are put out too.
    private static func cut(
        _ faults: inout [TimedFault], _ topology: Topology, _ dice: inout Dice
    ) {
        let step = topology.seats.map(\.worker.nominalStep).max() ?? .zero
        let span = max(2_000, Int(step.nanoseconds / 1_000_000) * 40)
        for _ in 0..<(1 + dice.below(2)) {
            let from = dice.below(topology.regions.count)
            let to = (from + 1 + dice.below(topology.regions.count - 1)) % topology.regions.count
            let length = dice.once(in: 3) ? dice.time(12_000...40_000) : dice.time(2_000...12_000)
            faults.append(
                TimedFault(
                    at: .zero + dice.time(1_000...span),
                    fault: .partition(from: from, to: to, symmetric: dice.once(in: 2), length)))
        }
        faults.sort { $0.at < $1.at }
    }

    /// Every half of an exchange of tokens goes over the slowest link, in every step.
    private static func exchanges(
        _ topology: Topology, _ configuration: RunConfiguration
    ) -> Interval {
        let way = topology.links.map { $0.oneWayDelay + $0.jitter }.max() ?? .zero
        let halves = 4 * configuration.model.layers * Int(configuration.steps)
        let rate = topology.links.map(\.rate).filter { $0 > 0 }.min() ?? 1_000_000_000
        let members = topology.seats.count
        let samples = topology.seats.reduce(0) { $0 + $1.worker.microBatch }
        // Rows of all tokens to everybody, and a frame to each.
        let bytes = samples * configuration.model.context * 64 + 200 * members * members
        return (way + Interval(seconds: Double(8 * bytes) / Double(rate))) * Int64(halves)
    }

    /// Rounds closed by the coordinator, and regions of unlike speed.
    private static func decouple(
        _ configuration: inout RunConfiguration, _ topology: inout Topology, _ dice: inout Dice
    ) {
        configuration.schedule.outer = .decoupled
        configuration.schedule.fragments = 1
        configuration.schedule.overlap = 0
        configuration.schedule.blend = 0
        let replicas =
            configuration.schedule.inner == .everyStep
            ? topology.regions.count : topology.seats.count
        configuration.schedule.closing = ClosingRules(
            quorum: 1 + dice.below(replicas), graceFactor: UInt32(dice.pick([0, 1_000, 3_000])),
            graceMost: dice.time(dice.pick([1...20, 100...300, 1_000...5_000])),
            lateWeight: UInt32(dice.pick([1_000, 500, 100])))
        for region in topology.regions.indices {
            let factor = Int64(dice.pick([1, 1, 2, 5]))
            for worker in topology.regions[region].workers.indices {
                let step = topology.regions[region].workers[worker].nominalStep
                topology.regions[region].workers[worker].nominalStep = step * factor
            }
        }
    }

    /// Plans that follow what is measured, with something to measure: encodings of links whose rates change,
    /// H_r of regions one of which becomes slower, and with either the micro-batches. From dice of its own:
    /// the others fall as they did before there was this.
    private static func measure(
        _ configuration: inout RunConfiguration, _ topology: inout Topology,
        _ faults: inout [TimedFault], _ dice: inout Dice
    ) {
        let schedule = configuration.schedule
        guard schedule.outer != .everyStep, schedule.outer != .decoupled else { return }
        let choosesBetween = topology.regions.count > 1 && dice.once(in: 4)
        let measuresSteps = dice.once(in: 4) && configuration.model.experts?.crossing == nil
        guard choosesBetween || measuresSteps else { return }
        configuration.schedule.adapts = true
        // Long enough for plans that need a few rounds before they change, and some after.
        let rounds = max(16, (configuration.steps + schedule.syncEvery - 1) / schedule.syncEvery)
        configuration.steps = rounds * schedule.syncEvery
        let step = topology.seats.map(\.worker.nominalStep).max() ?? .zero
        let half = max(1, Int(step.nanoseconds / 2_000_000) * Int(configuration.steps))
        if choosesBetween {
            configuration.wire.betweenRegions = LinkCodec.start
            configuration.wire.choosesBetween = true
            // A round trip that is longer than what a transfer may take leaves nothing to choose.
            let isNear = !dice.once(in: 3)
            for link in topology.links.indices {
                if isNear { topology.links[link].oneWayDelay = .zero }
                var change = LinkChange(at: dice.time(1...half))
                change.rate = dice.pick([200_000, 1_000_000, 100_000_000])
                change.duration = dice.once(in: 2) ? dice.time(1...half) : nil
                topology.links[link].changes = [change]
            }
        }
        if measuresSteps {
            configuration.schedule.localSteps = .measured
            let slowing = Fault.slowWorker(
                worker: dice.below(topology.seats.count), factor: Double(dice.pick([2, 3, 5])),
                dice.time(1...2 * half))
            faults.append(TimedFault(at: .zero + dice.time(1...half), fault: slowing))
        }
    }

    /// tau from links and steps, and regions of unlike speed, so that it differs.
    private static func chooseOverlap(
        _ configuration: inout RunConfiguration, _ topology: inout Topology
    ) {
        configuration.schedule.overlap = 1
        configuration.schedule.choosesOverlap = true
        for region in topology.regions.indices {
            for worker in topology.regions[region].workers.indices {
                let step = topology.regions[region].workers[worker].nominalStep
                topology.regions[region].workers[worker].nominalStep = step * Int64(1 + region % 3)
            }
        }
    }

    /// Models larger than all that may be under way to a peer, over links that are slow for a while: who
    /// is ahead sends what others cannot use yet. Sizes only; three of four take turns, half without faults.
    private static func fill(
        _ configuration: inout RunConfiguration, _ topology: inout Topology,
        _ options: inout SimulationOptions, _ dice: inout Dice
    ) {
        options.payloads = .modelled(parameters: dice.pick([1 << 22, 1 << 23, 1 << 24]))
        options.occurrenceLimit = 2_000_000
        if dice.once(in: 2) { options.faults = [] }
        let step = Int64(dice.pick([400, 800, 1_600]))
        for region in topology.regions.indices {
            let quarters = Int64(dice.pick([4, 4, 5, 6, 8]))
            for worker in topology.regions[region].workers.indices {
                topology.regions[region].workers[worker].nominalStep = .milliseconds(
                    step * quarters / 4)
            }
        }
        if !dice.once(in: 4) {
            let fragments = dice.pick([2, 4])
            let every = UInt32(fragments * dice.pick([2, 4]))
            configuration.steps = every * 6
            configuration.schedule = RunConfiguration.Schedule(
                inner: configuration.schedule.inner, outer: .streaming, syncEvery: every,
                outerLearningRate: 0.7, outerMomentum: 0.9, fragments: fragments, overlap: 1,
                blend: 0.5)
            configuration.schedule.choosesOverlap = true
            configuration.model.experts = nil
            configuration.model.layers = max(configuration.model.layers, fragments)
        }
        if dice.once(in: 2) { configuration.schedule.localSteps = .nominal }
        let rate: UInt64 = dice.pick([20_000_000, 200_000_000])
        let span = Int(2 * step) * Int(configuration.steps)
        for link in topology.links.indices {
            let ends = [topology.links[link].a, topology.links[link].b]
            topology.links[link].rate = rate
            topology.links[link].changes = (0..<(1 + dice.below(3))).map { _ in
                var change = LinkChange(at: dice.time(1...span))
                change.duration = dice.time(1_000...span)
                change.rate = rate / dice.pick([2, 5, 10])
                change.from = dice.pick([ends[0], ends[1], nil])
                return change
            }
        }
    }

    /// Some workers that nobody can dial.
    private static func hide(_ topology: inout Topology, _ dice: inout Dice) {
        for region in topology.regions.indices {
            for worker in topology.regions[region].workers.indices where dice.once(in: 3) {
                topology.regions[region].workers[worker].dialsOut = true
            }
        }
    }

    private static func network(_ seed: UInt64, isLarge: Bool, _ dice: inout Dice)
        -> SimulationOptions
    {
        // A large one has several chunks in a slice.
        let elements = isLarge ? 270_000 : dice.pick([4, 16, 61, 100, 257])
        var options = SimulationOptions(seed: seed, payloads: .tensors(elements: elements))
        options.cost.stepSpread = dice.pick([0, 0.05, 0.2])
        options.cost.overhead = .milliseconds(Int64(dice.pick([0, 1, 20])))
        options.allowList = dice.once(in: 2)
        options.acceptorNoticesReset = dice.once(in: 2)
        options.keepsUnsentFrames = dice.once(in: 2)
        options.clockSpread = dice.pick([.zero, .seconds(3_600)])
        options.supervision = dice.pick([nil, nil, .seconds(1), .seconds(20)])
        options.coordinatorStart = dice.pick([.zero, .zero, .seconds(3)])
        options.occurrenceLimit = 300_000
        return options
    }

    private static func starts(_ seats: Int, _ dice: inout Dice) -> [Interval] {
        guard dice.once(in: 3) else { return [] }
        return (0..<seats).map { _ in
            dice.once(in: 3) ? dice.time(1...20_000) : .zero
        }
    }

    /// After the last fault: every remaining step at its slowest, evictions one after another, the
    /// workers' and the coordinator's deadlines, and a margin.
    private static func bound(
        _ topology: Topology, _ configuration: RunConfiguration
    ) -> Interval {
        let step = topology.seats.map(\.worker.nominalStep).max() ?? .zero
        let deadlines = configuration.deadlines
        return step * Int64(configuration.steps) * 4 + deadlines.silence * 3 + deadlines.coordinator
            + deadlines.gathering + .seconds(240)
    }

    /// What crosses the slowest link of the run: every step may be a round, in which each seat's
    /// contribution and mean cross it, and some may take over a state.
    private static func transfers(
        _ topology: Topology, _ configuration: RunConfiguration, _ options: SimulationOptions
    ) -> Interval {
        let rates = topology.links.flatMap { [$0.rate] + ($0.changes ?? []).compactMap(\.rate) }
        guard let rate = rates.min(), rate > 0 else { return .zero }
        let model = Double(4 * options.payloads.elements) * 8 / Double(rate)
        let copies = topology.seats.count * (2 * Int(configuration.steps) + 8)
        return Interval(seconds: model * Double(copies))
    }

    private static func describe(
        _ topology: Topology, _ configuration: RunConfiguration, _ options: SimulationOptions,
        resumes: Bool
    ) -> [String] {
        let schedule = configuration.schedule
        var lines = [
            "workers \(topology.regions.map(\.workers.count)), inner \(schedule.inner.rawValue), "
                + "outer \(schedule.outer.rawValue), H \(schedule.syncEvery), "
                + "P \(schedule.fragments), tau "
                + (schedule.choosesOverlap == true ? "auto, " : "\(schedule.overlap), ")
                + "\(schedule.optimiser.rawValue), "
                + "experts \(configuration.model.experts?.count ?? 0)"
                + (configuration.spreadsExperts ? " spread over regions" : "")
                + (configuration.keepsExpertsAtHolders ? ", kept by their holders" : "")
                + ", in at least 1 of "
                + "\(configuration.greatestExpertPeriod) rounds, "
                + "steps \(configuration.steps), least \(configuration.deadlines.minimumWorkers)",
            "payloads \(options.payloads), overhead \(options.cost.overhead.seconds) s, "
                + "checkpoint every \(configuration.training.checkpointEvery)",
            "allow list \(options.allowList), acceptor notices \(options.acceptorNoticesReset), "
                + "keeps unsent \(options.keepsUnsentFrames), supervision "
                + "\(options.supervision.map { "\($0.seconds) s" } ?? "none"), resumes \(resumes)",
        ]
        if let experts = configuration.model.experts, let crossing = experts.crossing {
            let budget = crossing.budget.map { "\($0) of a step" } ?? "auto"
            lines.append(
                "across: budget, top \(experts.topK) in \(configuration.model.layers) layers, owned "
                    + (crossing.owned.map { "\($0)" } ?? "by rule") + ", budget "
                    + (crossing.tokens.map { "\($0) tokens" } ?? budget))
        }
        let steps = topology.regions.map { "\($0.workers[0].nominalStep.seconds)" }
        lines.append(
            "local steps \(schedule.localSteps.rawValue), steps of " + steps.joined(separator: ", ")
                + " s" + (configuration.wire.choosesBetween == true ? ", between auto" : "")
                + (schedule.adapts ? ", plans follow what is measured" : ""))
        if let rules = schedule.closing {
            lines.append(
                "quorum \(rules.quorum), k \(ClosingRules.decimal(rules.graceFactor)), grace at most "
                    + "\(rules.graceMost.seconds) s, late \(ClosingRules.decimal(rules.lateWeight))"
            )
        }
        for link in topology.links {
            for change in link.changes ?? [] {
                lines.append(
                    "link \(link.a.rawValue)-\(link.b.rawValue) after \(change.at.seconds) s: "
                        + "\(change.rate ?? 0) bit/s"
                        + (change.from.map { " from \($0.rawValue)" } ?? "") + ", for "
                        + (change.duration.map { "\($0.seconds) s" } ?? "ever"))
            }
        }
        let hidden = topology.seats.filter { $0.worker.dialsOut == true }.map(\.worker.name)
        if !hidden.isEmpty { lines.append("only dial out: " + hidden.joined(separator: ", ")) }
        if let link = topology.links.first {
            lines.append(
                "links \(link.oneWayDelay.seconds) s, \(link.rate) bit/s, jitter "
                    + "\(link.jitter.seconds) s")
        }
        if !options.starts.isEmpty {
            lines.append(
                "starts \(options.starts.map(\.seconds)), coordinator "
                    + "\(options.coordinatorStart.seconds)")
        }
        for fault in options.faults {
            lines.append("at \(Double(fault.at.nanoseconds) / 1e9) s: \(fault.fault)")
        }
        return lines
    }
}

/// Draws from a seed.
struct Dice {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed &* 0x2545_F491_4F6C_DD1D) }

    mutating func below(_ bound: Int) -> Int { Int(generator.integer(below: UInt64(bound))) }
    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
    mutating func once(in count: Int) -> Bool { below(count) == 0 }

    /// Milliseconds, with a random part below one.
    mutating func time(_ range: ClosedRange<Int>) -> Interval {
        let whole = range.lowerBound + below(range.upperBound - range.lowerBound + 1)
        return Interval(nanoseconds: Int64(whole) * 1_000_000 + Int64(below(1_000_000)))
    }
}
