internal import ClusterModel

/// The keys of `model` that make it a mixture of experts.
extension FileReader {
    static let expertKeys =
        [
            "experts", "top_k", "expert_width", "shared_experts", "gate", "groups", "groups_kept",
            "balance", "balance_rate", "capacity", "sequence_loss", "spread", "token_wire",
            "place_every", "keep",
        ] + crossingKeys

    /// - Parameter model: the rest of the group.
    func readExperts(
        _ section: Section, _ model: RunConfiguration.Model
    ) -> RunConfiguration.Model.Experts? {
        guard section.line(of: "experts") != nil else {
            for key in Self.expertKeys where section.line(of: key) != nil {
                section.refuse(
                    key, "`\(key)` would do nothing: the model has no experts",
                    expected: "`experts` beside it, or not this key", example: "experts: 8")
            }
            return nil
        }
        guard
            let count = section.value(
                .count("experts", 2...Limits.experts, of: "experts of a layer", example: 8))
        else { return nil }
        var reader = Defaults(section)
        var experts = RunConfiguration.Model.Experts(
            count: count,
            topK: reader.read(
                .count("top_k", 1...min(count, 64), of: "experts a token uses", example: 2), 2),
            width: reader.read(
                .count(
                    "expert_width", 8...Limits.width, of: "hidden width of an expert",
                    example: 4 * model.width), 4 * model.width),
            shared: reader.read(
                .count("shared_experts", 0...64, of: "experts every token uses", example: 1), 0),
            gate: reader.read(
                .choice(
                    "gate", of: "how logits become scores",
                    RunConfiguration.Model.Experts.Gate.allCases.map { ($0.rawValue, $0) }),
                .softmax),
            groups: reader.read(
                .count("groups", 1...count, of: "equal groups of experts", example: 4), 1),
            groupsKept: reader.read(
                .count("groups_kept", 1...count, of: "groups a token may use", example: 2), 1),
            balance: reader.read(
                .choice(
                    "balance", of: "what keeps experts in use",
                    RunConfiguration.Model.Experts.Balance.allCases.map { ($0.rawValue, $0) }),
                .bias),
            balanceRate: reader.read(
                .number(
                    "balance_rate", 1e-9...1, of: "what a bias moves by in a step",
                    example: "0.001"), 0.001),
            capacity: reader.read(
                .number(
                    "capacity", 0...1_024, of: "capacity factor (0: no token is dropped)",
                    example: "1.25"), 0),
            sequenceLoss: reader.read(
                .number(
                    "sequence_loss", 0...100, of: "weight of the sequence-wise balance loss",
                    example: "0.0001"), 0))
        readSpread(&experts, &reader)
        readCrossing(&experts, section, &reader)
        guard reader.isSound else { return nil }
        return fit(section, experts, model) ? experts : nil
    }

    private func readSpread(
        _ experts: inout RunConfiguration.Model.Experts, _ reader: inout Defaults
    ) {
        experts.spread = reader.read(
            .choice(
                "spread", of: "which workers compute an expert",
                RunConfiguration.Model.Experts.Spread.allCases.map { ($0.rawValue, $0) }), .none)
        experts.tokenWire = reader.read(
            .choice(
                "token_wire", of: "how tokens travel to experts",
                [
                    ("fp32", TransformID.fp32), ("bf16", .bf16), ("fp16", .fp16),
                    ("int8", .int8),
                ]), .fp32)
        experts.keep = reader.read(
            .choice(
                "keep", of: "who has an expert's weights and moments between rounds",
                RunConfiguration.Model.Experts.Keep.allCases.map { ($0.rawValue, $0) }),
            .everywhere)
        experts.placeEvery = UInt32(
            reader.read(
                .count(
                    "place_every", 0...Limits.steps,
                    of: "steps until experts are placed by their loads (0: never)", example: 100),
                0))
    }

    /// What `spread` needs of the other groups.
    func checkSpread(
        _ top: Section, topology: Topology?, model: RunConfiguration.Model?,
        schedule: RunConfiguration.Schedule?
    ) {
        guard model?.experts?.spread == .region, let topology, let schedule else { return }
        let section = top.section("model", keys: nil)
        if schedule.inner != .everyStep {
            section?.refuse(
                "spread", "`spread: region` needs workers that take every step together",
                expected: "`inner: every-step`", example: "schedule: {inner: every-step, ...}")
        } else if topology.regions.allSatisfy({ $0.workers.count < 2 }) {
            section?.refuse(
                "spread", "`spread: region` would do nothing: no region has two workers",
                expected: "a region of two or more, or `spread: none`", example: "spread: none")
        }
        if model?.experts?.keep == .holder { checkKeep(section, schedule) }
    }

    /// What `keep: holder` needs of `schedule`.
    private func checkKeep(_ section: Section?, _ schedule: RunConfiguration.Schedule) {
        let (what, expected, example): (String, String, String)
        if schedule.outer != .diloco, schedule.outer != .localSGD {
            (what, expected, example) = (
                "`keep: holder` needs rounds that a replica waits for: they bring its experts to everybody",
                "`outer: diloco` or `local-sgd`", "schedule: {outer: diloco, ...}"
            )
        } else if (schedule.expertRounds ?? 1) > 1 {
            (what, expected, example) = (
                "`keep: holder` with `expert_rounds`: experts left out of a round would be with one worker "
                    + "for longer, and lost with it",
                "one of the two", "keep: everywhere"
            )
        } else {
            return
        }
        section?.refuse("keep", what, expected: expected, example: example)
    }

    /// What two keys say together.
    private func fit(
        _ section: Section, _ experts: RunConfiguration.Model.Experts,
        _ model: RunConfiguration.Model
    ) -> Bool {
        let (count, groups) = (experts.count, experts.groups)
        let context = model.context
        if model.layers * count > Limits.expertsOfModel {
            section.refuse(
                "experts", "\(count) experts in each of \(model.layers) layers",
                expected: "at most \(Limits.expertsOfModel) of all layers together: each is a "
                    + "chunk or more that may wait for one peer",
                example: "experts: \(Limits.expertsOfModel / max(1, model.layers))")
            return false
        }
        if !experts.width.isMultiple(of: 8) {
            let nearest = (experts.width + 7) / 8 * 8
            section.refuse(
                section.line(of: "expert_width") == nil ? "width" : "expert_width",
                "an expert's width of \(experts.width) does not fill vectors of eight",
                expected: "a multiple of 8", example: "expert_width: \(nearest)")
        } else if !count.isMultiple(of: groups) {
            section.refuse(
                "groups", "\(groups) groups do not divide \(count) experts",
                expected: "a number that divides `experts`", example: "groups: 1")
        } else if experts.groupsKept > groups {
            section.refuse(
                "groups_kept", "a token cannot use \(experts.groupsKept) of \(groups) groups",
                expected: "at most \(groups)", example: "groups_kept: \(groups)")
        } else if experts.topK > experts.groupsKept * (count / groups) {
            section.refuse(
                section.line(of: "top_k") == nil ? "groups_kept" : "top_k",
                "\(experts.groupsKept) of \(groups) groups have "
                    + "\(experts.groupsKept * (count / groups)) experts, fewer than the "
                    + "\(experts.topK) a token uses",
                expected: "`top_k` at most `groups_kept` x `experts` / `groups`",
                example: "top_k: \(experts.groupsKept * (count / groups))")
        } else if experts.capacity > 0,
            Int(experts.capacity * Double((context + count - 1) / count)) < 1
        {
            section.refuse(
                "capacity",
                "no expert would take a token: int(\(experts.capacity) x ceil(\(context) / \(count))) "
                    + "is 0",
                expected: "0, or a factor around 1", example: "capacity: 1.25")
        } else if experts.balance != .bias, section.line(of: "balance_rate") != nil {
            section.refuse(
                "balance_rate",
                "`balance_rate` would do nothing under `balance: \(experts.balance.rawValue)`",
                expected: "`balance_rate` only with `balance: bias`", example: "balance: bias")
        } else if experts.spread == .none, experts.crossing == nil,
            section.line(of: "token_wire") != nil
        {
            section.refuse(
                "token_wire", "`token_wire` would do nothing: every worker computes all experts",
                expected: "`token_wire` only with `spread: region` or `across: budget`",
                example: "spread: region")
        } else if experts.spread == .none, section.line(of: "place_every") != nil {
            section.refuse(
                "place_every", "`place_every` would do nothing: every worker computes all experts",
                expected: "`place_every` only with `spread: region`", example: "spread: region")
        } else if experts.spread == .none, section.line(of: "keep") != nil {
            section.refuse(
                "keep", "`keep` would do nothing: every worker computes all experts",
                expected: "`keep` only with `spread: region`", example: "spread: region")
        } else {
            return true
        }
        return false
    }
}
