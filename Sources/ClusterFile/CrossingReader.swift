internal import ClusterModel

/// The keys of `model` that let the least used experts live in one region each.
extension FileReader {
    static let crossingKeys = ["across", "owned", "budget", "budget_tokens"]
    /// What a report and a plan have room for.
    private static let mostExperts = 8_192

    private enum Across: String, CaseIterable {
        case never, budget
    }

    func readCrossing(
        _ experts: inout RunConfiguration.Model.Experts, _ section: Section,
        _ reader: inout Defaults
    ) {
        let across = reader.read(
            .choice(
                "across", of: "which tokens leave their region",
                Across.allCases.map { ($0.rawValue, $0) }), .never)
        guard across == .budget else {
            for key in Self.crossingKeys.dropFirst() where section.line(of: key) != nil {
                section.refuse(
                    key, "`\(key)` would do nothing with `across: never`",
                    expected: "`\(key)` only with `across: budget`", example: "across: budget")
            }
            return
        }
        if section.line(of: "budget") != nil, section.line(of: "budget_tokens") != nil {
            section.refuse(
                "budget_tokens", "two budgets: a share of a step's time, and a number of tokens",
                expected: "`budget` or `budget_tokens`", example: "budget: 0.1")
        }
        let most = experts.count - experts.topK
        guard most > 0 else {
            reader.refuse(
                "across",
                "`across: budget` can own nothing: a token uses all \(experts.count) experts",
                expected: "`top_k` below `experts`, or `across: never`",
                example: "top_k: \(max(1, experts.count - 1))")
            return
        }
        experts.crossing = RunConfiguration.Model.Experts.Crossing(
            budget: readBudget(section, RoutingScenario.usualBudget, &reader),
            tokens: reader.readIfGiven(
                .count(
                    "budget_tokens", 0...Limits.steps,
                    of: "tokens of a region that may go to another in a step", example: 512)
            ).map { UInt32($0) },
            owned: reader.readIfGiven(
                .count(
                    "owned", 1...most,
                    of: "experts of a block that one region has alone, so many that each region "
                        + "has the \(experts.topK) a token uses",
                    example: min(most, max(1, experts.count / 4)))))
    }

    /// What `across: budget` needs of the other groups.
    func checkCrossing(
        _ top: Section, topology: Topology?, model: RunConfiguration.Model?,
        schedule: RunConfiguration.Schedule?
    ) {
        guard let model, let experts = model.experts, let crossing = experts.crossing,
            let topology, let schedule, let section = top.section("model", keys: nil)
        else { return }
        func refuse(_ why: String, _ expected: String, _ example: String) {
            section.refuse(
                "across", "`across: budget` " + why, expected: expected, example: example)
        }
        if topology.regions.count < 2 {
            refuse(
                "has nothing to cross: there is one region",
                "two regions or more, or `across: never`", "across: never")
        } else if topology.links.isEmpty, crossing.tokens == nil {
            refuse(
                "goes by the rates of `links`, and there are none",
                "`links`, or `budget_tokens`", "budget_tokens: 512")
        } else if !schedule.adapts, crossing.tokens == nil, LinkTime.step(topology) == nil {
            refuse(
                "goes by the time of a step, which `adapt: never` (or a seed) takes from the file, and "
                    + "a worker has no `step`",
                "`step` of every worker, `budget_tokens`, or `adapt: on`", "budget_tokens: 512")
        } else if schedule.inner != .everyStep
            || ![.diloco, .localSGD].contains(schedule.outer)
        {
            refuse(
                "needs regions that step as one and block for their rounds: tokens go from step to the "
                    + "same step, and every expert's round must be everybody's",
                "`inner: every-step` with `outer: diloco` or `local-sgd`", "outer: diloco")
        } else if schedule.localSteps != .equal {
            refuse(
                "needs regions that take the same steps: tokens go from step to the same step",
                "`local_steps: equal`", "local_steps: equal")
        } else if schedule.expertWeights != .tokens {
            refuse(
                "needs `expert_weights: tokens`: a region that does not compute an expert must not "
                    + "count in its mean", "`expert_weights: tokens`", "expert_weights: tokens")
        } else if (schedule.expertRounds ?? 1) > 1 {
            refuse(
                "does not go with `expert_rounds` yet: both choose among the least used experts",
                "one of the two", "expert_rounds: 1")
        } else if experts.spread != .none {
            refuse(
                "does not go with `spread: region` yet: a token goes to the worker that computes an "
                    + "expert for all, or to one of another region",
                "`spread: none`, or `across: never`", "spread: none")
        } else if experts.groupsKept < experts.groups {
            refuse(
                "does not go with limited groups: a token that has to stay chooses among all experts "
                    + "of its region", "`groups_kept` equal to `groups`",
                "groups_kept: \(experts.groups)")
        } else if model.layers * experts.count > Self.mostExperts {
            refuse(
                "is for at most \(Self.mostExperts) experts of all layers together: a plan names their "
                    + "owners", "fewer experts or layers",
                "experts: \(Self.mostExperts / max(1, model.layers))")
        }
    }
}
