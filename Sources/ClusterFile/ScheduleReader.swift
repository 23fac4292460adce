internal import ClusterModel

/// The two levels of synchronisation and what travels on each. Settings that would silently do
/// nothing are refused with the reason.
extension FileReader {
    static let scheduleKeys =
        ["inner", "outer", "sync_every", "adapt"] + optimiserKeys + streamingKeys + closingKeys
        + ["local_steps", "expert_weights", "expert_rounds"]
    private static let optimiserKeys = [
        "outer_lr", "outer_momentum", "outer_optimiser", "momentum_every",
    ]
    static let streamingKeys = ["fragments", "fragment_layers", "overlap", "blend"]
    static let closingKeys = ["quorum", "grace_k", "grace_most", "staleness"]

    /// Without `adapt`, plans follow measured rates unless the seed is given: a run with a seed repeats.
    func readSchedule(
        _ top: Section, topology: Topology?, model: RunConfiguration.Model?, steps: Int?
    ) -> RunConfiguration.Schedule? {
        var schedule = readFixedSchedule(
            top, topology: topology, model: model, steps: steps)
        let section = top.section("schedule", keys: nil)
        let adapt = section?.value(
            .choice(
                "adapt", of: "whether plans follow measured rates",
                [("on", true), ("never", false)]))
        if adapt == true, topology?.seats.count == 1 {
            section?.refuse(
                "adapt", "`adapt` would do nothing: there is one worker",
                expected: "`adapt: on` with several workers", example: "adapt: never")
        }
        schedule?.adapts = adapt ?? (top.line(of: "seed") == nil)
        if let section, let model, section.line(of: "expert_weights") != nil {
            let weights = readExpertWeights(section, model, schedule?.outer)
            if let weights { schedule?.expertWeights = weights }
        }
        if let section, let model, let known = schedule {
            schedule?.expertRounds = readExpertRounds(section, model, known)
        }
        return schedule
    }

    private func readExpertWeights(
        _ section: Section, _ model: RunConfiguration.Model,
        _ outer: RunConfiguration.Schedule.Outer?
    ) -> RunConfiguration.Schedule.ExpertWeights? {
        let key = "expert_weights"
        if model.experts == nil {
            section.refuse(
                key, "`\(key)` would do nothing: the model has no experts",
                expected: "`experts` in `model`, or not this key", example: "experts: 8")
            return nil
        }
        if outer == .everyStep {
            section.refuse(
                key,
                "`\(key)` would do nothing: with `outer: every-step` gradients are averaged, and an "
                    + "expert's is small where few tokens used it",
                expected: "`\(key)` only where parameters are averaged", example: "outer: diloco")
            return nil
        }
        return section.value(
            .choice(
                key, of: "what an expert counts for in an outer round",
                RunConfiguration.Schedule.ExpertWeights.allCases.map { ($0.rawValue, $0) }))
    }

    private func readFixedSchedule(
        _ top: Section, topology: Topology?, model: RunConfiguration.Model?, steps: Int?
    ) -> RunConfiguration.Schedule? {
        let section = top.section("schedule", keys: Self.scheduleKeys)
        if section == nil, top.line(of: "schedule") != nil { return nil }
        let workers = topology?.seats.count ?? 1
        guard let section else {
            if workers > 1 {
                top.refuse(
                    "schedule", "`schedule` is missing",
                    expected: "how \(workers) workers are kept together",
                    example: "schedule: {inner: every-step, outer: diloco, sync_every: 30}")
                return nil
            }
            return .init(
                inner: .everyStep, outer: .everyStep, syncEvery: 1, outerLearningRate: 1,
                outerMomentum: 0)
        }
        let innerGiven = section.line(of: "inner") != nil
        let inner = section.value(
            .choice(
                "inner", of: "the schedule inside a region",
                RunConfiguration.Schedule.Inner.allCases.map { ($0.rawValue, $0) }))
        let outer = section.required(
            .choice(
                "outer", of: "the schedule between replicas",
                RunConfiguration.Schedule.Outer.allCases.map { ($0.rawValue, $0) }))
        guard let outer, inner != nil || !innerGiven else { return nil }
        let chosen = inner ?? .everyStep
        switch outer {
        case .everyStep: return everyStep(section, inner: chosen)
        case .localSGD, .diloco, .streaming, .decoupled:
            let schedule = periodic(
                section, inner: chosen, outer: outer, topology: topology, steps: steps)
            return schedule.flatMap { finished($0, section, topology, model) }
        }
    }

    private func everyStep(
        _ section: Section, inner: RunConfiguration.Schedule.Inner
    ) -> RunConfiguration.Schedule? {
        var accepted = true
        let needsRounds =
            ["sync_every"] + Self.optimiserKeys + Self.streamingKeys + Self.closingKeys
            + ["local_steps"]
        for key in needsRounds where section.line(of: key) != nil {
            accepted = false
            let home =
                Self.streamingKeys.contains(key)
                ? "streaming" : Self.closingKeys.contains(key) ? "decoupled" : "diloco"
            section.refuse(
                key,
                "`\(key)` would do nothing: with `outer: every-step` gradients are averaged "
                    + "after each step and there is no outer step",
                expected: "`\(key)` only with `outer: \(home)`"
                    + (key == "sync_every" ? " or `outer: local-sgd`" : ""),
                example: key == "sync_every" ? "outer: diloco" : "remove `\(key)`")
        }
        guard accepted else { return nil }
        return .init(
            inner: inner, outer: .everyStep, syncEvery: 1, outerLearningRate: 1, outerMomentum: 0)
    }

    private func periodic(
        _ section: Section, inner: RunConfiguration.Schedule.Inner,
        outer: RunConfiguration.Schedule.Outer, topology: Topology?, steps: Int?
    ) -> RunConfiguration.Schedule? {
        let momentumRange = 0.0...0.9999
        let syncEvery = section.required(
            .count(
                "sync_every", 1...Limits.steps, of: "inner steps between two outer rounds",
                example: 30))
        let rate = section.value(
            .number("outer_lr", 1e-6...100, of: "the outer learning rate", example: "0.7"))
        let momentum = section.value(
            .number("outer_momentum", momentumRange, of: "the outer momentum", example: "0.9"))
        var accepted = true
        if outer == .localSGD {
            for key in Self.optimiserKeys where section.line(of: key) != nil {
                accepted = false
                section.refuse(
                    key, "`\(key)` would do nothing: `local-sgd` takes the plain mean",
                    expected: "`\(key)` only with `outer: diloco`", example: "outer: diloco")
            }
        }
        if let topology { accepted = checkReplicas(section, inner, outer, topology) && accepted }
        if let syncEvery, let steps {
            accepted = checkRounds(section, syncEvery: syncEvery, steps: steps) && accepted
        }
        let given = ["outer_lr": rate, "outer_momentum": momentum]
        let broken = given.contains { section.line(of: $0.key) != nil && $0.value == nil }
        guard let syncEvery, accepted, !broken else { return nil }
        let isMean = outer == .localSGD
        return .init(
            inner: inner, outer: outer, syncEvery: UInt32(syncEvery),
            outerLearningRate: isMean ? 1 : rate ?? (outer == .streaming ? 0.4 : 0.7),
            outerMomentum: isMean ? 0 : momentum ?? 0.9)
    }

    private func checkReplicas(
        _ section: Section, _ inner: RunConfiguration.Schedule.Inner,
        _ outer: RunConfiguration.Schedule.Outer, _ topology: Topology
    ) -> Bool {
        let workers = topology.seats.count
        let replicas = inner == .everyStep ? topology.regions.count : workers
        guard replicas < 2 else { return true }
        let why =
            workers == 1
            ? "there is one worker"
            : "the workers of the one region step together and are one replica"
        section.refuse(
            "outer", "`\(outer.rawValue)` has nobody to average with: \(why)",
            expected: "at least two replicas, or `outer: every-step`",
            example: workers == 1 ? "outer: every-step" : "inner: none")
        return false
    }

    private func checkRounds(_ section: Section, syncEvery: Int, steps: Int) -> Bool {
        if syncEvery > steps {
            section.refuse(
                "sync_every",
                "an outer round every \(syncEvery) steps never comes in a run of "
                    + "\(steps) steps",
                expected: "at most `steps`", example: "sync_every: \(min(30, steps))")
            return false
        }
        let rest = steps % syncEvery
        guard rest > 0 else { return true }
        section.refuse(
            "sync_every",
            "the last \(rest) of \(steps) steps would never be synchronised: "
                + "\(steps) is not a multiple of \(syncEvery)",
            expected: "`steps` as a multiple of `sync_every`",
            example: "steps: \(steps - rest + syncEvery)")
        return false
    }
}
