internal import ClusterModel

/// `expert_rounds`: how rarely an expert may be exchanged that few tokens use.
extension FileReader {
    private static let key = "expert_rounds"
    /// What a report and a plan can say of.
    private static let mostExperts = 8_192
    private static let periods = [1, 2, 4, 8, 16]

    /// Nil where all experts are exchanged in every round.
    func readExpertRounds(
        _ section: Section, _ model: RunConfiguration.Model,
        _ schedule: RunConfiguration.Schedule
    ) -> UInt32? {
        let given = section.value(
            .choice(
                Self.key, of: "the longest period of a rarely used expert, in rounds",
                Self.periods.map { ("\($0)", UInt32($0)) }))
        guard let given, given > 1 else { return nil }
        guard let why = refusal(model, schedule) else { return given }
        section.refuse(
            Self.key, "`\(Self.key)` \(why.problem)", expected: why.expected, example: why.example)
        return nil
    }

    private func refusal(
        _ model: RunConfiguration.Model, _ schedule: RunConfiguration.Schedule
    ) -> (problem: String, expected: String, example: String)? {
        guard let experts = model.experts else {
            return (
                "would do nothing: the model has no experts",
                "`experts` in `model`, or not this key", "experts: 8"
            )
        }
        let blocking = "`outer: diloco` or `outer: local-sgd`, or not this key"
        switch schedule.outer {
        case .localSGD, .diloco: break
        case .everyStep:
            return (
                "would do nothing: with `outer: every-step` gradients are averaged after each step",
                blocking, "outer: diloco"
            )
        case .streaming, .decoupled:
            return ("is for replicas that wait for their rounds", blocking, "outer: diloco")
        }
        if schedule.expertWeights == .mean {
            return (
                "needs the tokens of each expert, which `expert_weights: mean` leaves aside",
                "`expert_weights: tokens`", "expert_weights: tokens"
            )
        }
        if schedule.optimiser == .delayedNesterov {
            return (
                "does not go with `outer_optimiser: delayed-nesterov`, which counts rounds in a row",
                "`nesterov` or `sgd`", "outer_optimiser: nesterov"
            )
        }
        let count = experts.count * model.layers
        guard count > Self.mostExperts else { return nil }
        return (
            "is for models of at most \(Figures.grouped(UInt64(Self.mostExperts))) experts; "
                + "\(model.layers) layers have \(Figures.grouped(UInt64(count)))",
            "fewer experts, or not this key", "remove `\(Self.key)`"
        )
    }
}

extension CheckReport {
    /// What rounds may leave out; loads decide it, and nobody knows them before.
    static func expertRoundsNote(_ configuration: RunConfiguration) -> String? {
        let most = configuration.greatestExpertPeriod
        let all = configuration.model.parameterCount
        guard most > 1, all > 0 else { return nil }
        let own = configuration.expertBlocks(elements: all).elements
        let share = Double(own) / Double(all)
        let least = 1 - share * (1 - 1 / Double(most))
        return
            "Experts with less than 1/2, 1/4 ... of their block's mean load take part in every 2nd, "
            + "4th ... outer round, at least in 1 of \(most). They are \(Figures.percent(share)) of "
            + "the model: a round sends from \(Figures.percent(least)) to 100 % of the bytes above, "
            + "as loads will have it."
    }
}
