internal import ClusterModel

/// Fragments, overlap, outer optimiser and local steps of a periodic schedule. Nothing is rounded: what
/// does not come out even is refused with the nearest that does.
extension FileReader {
    func finished(
        _ base: RunConfiguration.Schedule, _ section: Section, _ topology: Topology?,
        _ model: RunConfiguration.Model?
    ) -> RunConfiguration.Schedule? {
        var schedule = base
        let isRead = [
            readOptimiser(&schedule, section), readLocalSteps(&schedule, section, topology),
            schedule.outer == .streaming
                ? readStreaming(&schedule, section, topology, model)
                : refuseStreaming(schedule, section),
            schedule.outer == .decoupled
                ? readClosing(&schedule, section, topology, model)
                : refuseClosing(schedule, section),
        ]
        guard isRead.allSatisfy(\.self) else { return nil }
        guard schedule.outer != .streaming || fitsLocalSteps(schedule, section, topology) else {
            return nil
        }
        return schedule
    }

    // MARK: Outer optimiser

    private func readOptimiser(
        _ schedule: inout RunConfiguration.Schedule, _ section: Section
    ) -> Bool {
        let kinds = RunConfiguration.Schedule.Optimiser.allCases.map { ($0.rawValue, $0) }
        let kind = section.value(
            .choice("outer_optimiser", of: "how the outer copy steps on a mean", kinds))
        let every = section.value(
            .count(
                "momentum_every", 2...1_000, of: "rounds between two uses of the momentum",
                example: 4))
        guard kind != nil || section.line(of: "outer_optimiser") == nil,
            every != nil || section.line(of: "momentum_every") == nil
        else { return false }
        schedule.optimiser = kind ?? .nesterov
        switch schedule.optimiser {
        case .delayedNesterov:
            guard let every else {
                section.refuse(
                    "outer_optimiser", "`delayed-nesterov` without `momentum_every`",
                    expected: "after how many rounds the momentum is used",
                    example: "momentum_every: 4")
                return false
            }
            schedule.momentumEvery = UInt32(every)
        case .nesterov, .sgd:
            guard every == nil else {
                section.refuse(
                    "momentum_every",
                    "`momentum_every` would do nothing: `\(schedule.optimiser.rawValue)` does not "
                        + "delay its momentum",
                    expected: "`momentum_every` only with `outer_optimiser: delayed-nesterov`",
                    example: "outer_optimiser: delayed-nesterov")
                return false
            }
        }
        guard schedule.optimiser == .sgd else { return true }
        guard section.line(of: "outer_momentum") == nil else {
            section.refuse(
                "outer_momentum", "`outer_momentum` would do nothing: `sgd` has no momentum",
                expected: "`outer_momentum` only with `nesterov` or `delayed-nesterov`",
                example: "outer_optimiser: nesterov")
            return false
        }
        schedule.outerMomentum = 0
        if section.line(of: "outer_lr") == nil { schedule.outerLearningRate = 1 }
        return true
    }

    // MARK: Streaming

    private func refuseStreaming(
        _ schedule: RunConfiguration.Schedule, _ section: Section
    ) -> Bool {
        var accepted = true
        let why =
            schedule.outer == .decoupled
            ? "the whole model at once: a replica that is late would hold up the turns of fragments "
                + "behind it, and nothing waits for a mean that could be blended"
            : "the whole model at once and waits for it"
        for key in Self.streamingKeys where section.line(of: key) != nil {
            accepted = false
            section.refuse(
                key,
                "`\(key)` would do nothing: `\(schedule.outer.rawValue)` exchanges \(why)",
                expected: "`\(key)` only with `outer: streaming`", example: "outer: streaming")
        }
        return accepted
    }

    private func readStreaming(
        _ schedule: inout RunConfiguration.Schedule, _ section: Section, _ topology: Topology?,
        _ model: RunConfiguration.Model?
    ) -> Bool {
        guard model?.experts == nil else {
            section.refuse(
                "outer", "`streaming` does not exchange the gates' state of a model with experts",
                expected: "`outer: diloco` with `experts`", example: "outer: diloco")
            return false
        }
        let parts = section.value(
            .count("fragments", 1...Limits.fragments, of: "parts of the model", example: 4))
        let layers = section.value(
            .count("fragment_layers", 1...Limits.layers, of: "layers of one part", example: 3))
        let overlap = section.value(Self.overlapField)
        let blend = section.value(
            .number(
                "blend", 0...0.9999, of: "the share of local parameters that stays", example: "0.5")
        )
        let given: [(String, Bool)] = [
            ("fragments", parts != nil), ("fragment_layers", layers != nil),
            ("overlap", overlap != nil), ("blend", blend != nil),
        ]
        guard !given.contains(where: { section.line(of: $0.0) != nil && !$0.1 }) else {
            return false
        }
        guard
            let count = fragmentCount(section, parts: parts, layers: layers, of: model?.layers)
        else { return false }
        schedule.fragments = count
        schedule.blend = blend ?? 0.5
        switch overlap ?? .steps(1) {
        case .steps(let steps):
            schedule.overlap = UInt32(steps)
        case .auto:
            schedule.overlap = 1
            schedule.choosesOverlap = true
            guard canChooseOverlap(section, topology) else { return false }
        }
        return fitsPeriod(schedule, section)
    }

    /// tau as the file says it.
    private enum Overlap {
        case steps(Int)
        case auto
    }

    private static var overlapField: Field<Overlap> {
        let steps = Field<Int>.count(
            "overlap", 0...Limits.steps, of: "inner steps between leaving and being applied",
            example: 2)
        return Field(
            key: steps.key,
            expected: steps.expected + ", or `auto`: as many as a transfer takes",
            example: steps.example
        ) { $0 == "auto" ? .auto : steps.parse($0).map(Overlap.steps) }
    }

    /// It is chosen from rates and step times.
    private func canChooseOverlap(_ section: Section, _ topology: Topology?) -> Bool {
        guard let topology else { return true }
        if topology.regions.count > 1, topology.links.isEmpty {
            section.refuse(
                "overlap", "`overlap: auto` goes by the rates of `links`, and there are none",
                expected: "a number of steps where no links are described", example: "overlap: 2")
            return false
        }
        guard let unpaced = topology.seats.first(where: { $0.worker.nominalStep <= .zero }) else {
            return true
        }
        section.refuse(
            "overlap",
            "`overlap: auto` counts in steps, and '\(unpaced.worker.name)' has no nominal `step`",
            expected: "a `step` for every worker, or a number of steps", example: "overlap: 2")
        return false
    }

    private func fitsPeriod(
        _ schedule: RunConfiguration.Schedule, _ section: Section
    ) -> Bool {
        let every = Int(schedule.syncEvery)
        let count = schedule.fragments
        guard count <= every else {
            section.refuse(
                "sync_every",
                "\(count) fragments cannot leave at \(count) different steps out of \(every)",
                expected: "`sync_every` of at least the number of fragments",
                example: "sync_every: \(count)")
            return false
        }
        guard schedule.choosesOverlap != true || every > 1 else {
            section.refuse(
                "sync_every",
                "a fragment that leaves after each step leaves no step to overlap with",
                expected: "`sync_every` of at least 2 with `overlap: auto`",
                example: "sync_every: 24")
            return false
        }
        guard Int(schedule.overlap) < every else {
            section.refuse(
                "overlap",
                "a fragment would have to leave again after \(every) steps, before its mean of "
                    + "\(schedule.overlap) steps earlier is applied",
                expected: "`overlap` below `sync_every`", example: "overlap: \(max(0, every / 2))")
            return false
        }
        return true
    }

    private func fragmentCount(
        _ section: Section, parts: Int?, layers: Int?, of modelLayers: Int?
    ) -> Int? {
        // What is wrong with the model is said where it stands.
        guard let modelLayers else { return nil }
        if parts != nil, layers != nil {
            section.refuse(
                "fragment_layers", "`fragments` and `fragment_layers` say the same twice",
                expected: "one of the two", example: "remove `fragment_layers`")
            return nil
        }
        if let layers {
            guard modelLayers % layers == 0 else {
                let fitting = (1...layers).last { modelLayers % $0 == 0 } ?? 1
                section.refuse(
                    "fragment_layers",
                    "\(modelLayers) layers do not fall into fragments of \(layers)",
                    expected: "a divisor of the model's layers",
                    example: "fragment_layers: \(fitting)")
                return nil
            }
            return checked(modelLayers / layers, modelLayers, section, "fragment_layers")
        }
        guard let parts else {
            section.refuse(
                "outer", "`streaming` needs to know how the model is divided",
                expected: "`fragments` or `fragment_layers`", example: "fragment_layers: 1")
            return nil
        }
        return checked(parts, modelLayers, section, "fragments")
    }

    private func checked(
        _ count: Int, _ layers: Int, _ section: Section, _ key: String
    ) -> Int? {
        guard count <= layers else {
            section.refuse(
                key, "\(count) fragments of a model with \(layers) layers: some would be empty",
                expected: "at most one fragment per layer", example: "fragments: \(layers)")
            return nil
        }
        guard count <= Limits.fragments else {
            section.refuse(
                key, "\(count) fragments: a plan holds \(Limits.fragments)",
                expected: "fewer, larger fragments",
                example: "fragments: \(Limits.fragments)")
            return nil
        }
        let ranges = (layers + count - 1) / count + 1
        guard ranges <= Limits.ranges else {
            section.refuse(
                key,
                "a fragment would have \(ranges) ranges of elements: a plan holds \(Limits.ranges)",
                expected: "more fragments",
                example: "fragments: \(layers / (Limits.ranges - 1) + 1)")
            return nil
        }
        return count
    }

    // MARK: Local steps

    private func readLocalSteps(
        _ schedule: inout RunConfiguration.Schedule, _ section: Section, _ topology: Topology?
    ) -> Bool {
        let kinds = RunConfiguration.Schedule.LocalSteps.allCases.map { ($0.rawValue, $0) }
        guard section.line(of: "local_steps") != nil else { return true }
        guard
            let kind = section.value(
                .choice("local_steps", of: "how unlike regions divide the steps", kinds))
        else { return false }
        schedule.localSteps = kind
        switch kind {
        case .equal: return true
        case .measured:
            guard schedule.outer == .decoupled else { return true }
            section.refuse(
                "local_steps",
                "`measured` counts in rounds of all, and with `outer: decoupled` each region has its own",
                expected: "`equal` or `nominal`", example: "local_steps: nominal")
            return false
        case .nominal:
            let unpaced = topology?.seats.first { $0.worker.nominalStep <= .zero }
            guard let unpaced else { return true }
            section.refuse(
                "local_steps",
                "'\(unpaced.worker.name)' has no nominal `step` to divide by",
                expected: "a `step` for every worker, or `local_steps: equal`",
                example: "{name: \(unpaced.worker.name), step: 200 ms}")
            return false
        }
    }

    private func fitsLocalSteps(
        _ schedule: RunConfiguration.Schedule, _ section: Section, _ topology: Topology?
    ) -> Bool {
        guard schedule.localSteps == .nominal, let topology,
            let fastest = topology.seats.map(\.worker.nominalStep).min(),
            let slowest = topology.seats.map(\.worker.nominalStep).max(), slowest > .zero
        else { return true }
        let least = fastest.nanoseconds * Int64(schedule.syncEvery) / slowest.nanoseconds
        let needed = max(Int64(schedule.fragments), Int64(schedule.overlap) + 1)
        guard least < needed else { return true }
        section.refuse(
            "local_steps",
            "the slowest region would take \(least) steps a round, which is too few for "
                + "\(schedule.fragments) fragments and an overlap of \(schedule.overlap)",
            expected: "a larger `sync_every`, fewer fragments or a shorter overlap",
            example: "sync_every: "
                + "\((needed * slowest.nanoseconds + fastest.nanoseconds - 1) / fastest.nanoseconds)"
        )
        return false
    }
}
