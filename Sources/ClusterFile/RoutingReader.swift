internal import ClusterModel

/// The group `routing`: what `longhaul simulate --experts` goes by.
extension FileReader {
    private static let routingKeys = [
        "skew", "drift", "topics", "recorded", "tokens", "across", "regions_kept", "budget",
        "owned",
        "place_every", "slots", "teraflops", "inside",
    ]

    func readRouting(
        _ top: Section, model: RunConfiguration.Model?, topology: Topology?
    ) -> RoutingScenario? {
        guard let section = top.section("routing", keys: Self.routingKeys) else { return nil }
        guard let model, let topology else { return nil }
        guard let experts = model.experts else {
            issues.add(
                line: section.line, path: section.path,
                problem: "`routing` would do nothing: the model has no experts",
                expected: "`experts` in `model`, or not this group", example: "experts: 8")
            return nil
        }
        let standard = RoutingScenario()
        var reader = Defaults(section)
        let scenario = RoutingScenario(
            skew: reader.read(
                .number("skew", 0...20, of: "spread of the experts' popularity", example: "1"),
                standard.skew),
            drift: reader.read(
                .number("drift", 0...1, of: "share of it drawn anew per step", example: "0.02"),
                standard.drift),
            topics: reader.read(
                .number("topics", 0...20, of: "spread of a region's own", example: "0.5"),
                standard.topics),
            recorded: section.value(
                Field(
                    key: "recorded", expected: "the path of a run.json with experts",
                    example: "/tmp/run/run.json"
                ) { $0.isEmpty ? nil : $0 }),
            tokens: reader.read(
                .count("tokens", 8...1_000_000, of: "tokens routed per region", example: 256),
                standard.tokens),
            across: reader.read(
                .choice(
                    "across", of: "which tokens leave their region",
                    RoutingScenario.Across.allCases.map { ($0.rawValue, $0) }), standard.across),
            regionsKept: reader.read(
                .count(
                    "regions_kept", 1...max(1, topology.regions.count),
                    of: "regions a token uses", example: 1), standard.regionsKept),
            budget: readBudget(section, standard.budget, &reader),
            owned: section.value(
                .count(
                    "owned", 0...max(0, experts.count - experts.topK),
                    of:
                        "experts of a layer that one region has alone, so many that each region has "
                        + "the \(experts.topK) a token uses", example: experts.count / 4)),
            placeEvery: UInt32(
                reader.read(
                    .count("place_every", 0...Limits.steps, of: "steps", example: 10),
                    Int(standard.placeEvery))),
            slots: reader.read(
                .count("slots", 1...Limits.experts, of: "experts on a device", example: 1),
                standard.slots),
            teraflops: reader.read(
                .number("teraflops", 1e-6...1e6, of: "10^12 operations a second", example: "200"),
                standard.teraflops),
            insideRate: reader.read(.bitRate("inside"), standard.insideRate))
        guard reader.isSound, isSound(section, scenario) else { return nil }
        return scenario
    }

    /// `auto` is nil: what outer rounds leave.
    func readBudget(
        _ section: Section, _ standard: Double?, _ reader: inout Defaults
    ) -> Double? {
        let number = Field<Double>.number(
            "budget", 0...1, of: "share of a step's time in which tokens may cross",
            example: "0.1")
        return reader.read(
            Field(
                key: number.key,
                expected: number.expected + ", or `auto`: what outer rounds leave of it",
                example: number.example
            ) { text -> Double?? in
                text == "auto" ? .some(nil) : number.parse(text).map { .some($0) }
            }, standard)
    }

    private func isSound(_ section: Section, _ scenario: RoutingScenario) -> Bool {
        for key in ["budget", "owned"]
        where scenario.across != .budget && section.line(of: key) != nil {
            section.refuse(
                key, "`\(key)` would do nothing with `across: \(scenario.across.rawValue)`",
                expected: "`\(key)` only with `across: budget`", example: "across: budget")
            return false
        }
        if scenario.across != .limited, section.line(of: "regions_kept") != nil {
            section.refuse(
                "regions_kept",
                "`regions_kept` would do nothing with `across: \(scenario.across.rawValue)`",
                expected: "`regions_kept` only with `across: limited`", example: "across: limited")
            return false
        }
        if scenario.insideRate == 0 {
            section.refuse(
                "inside", "devices of a region need a rate to share the time by",
                expected: "a rate", example: "inside: 400 Gbit/s")
            return false
        }
        for key in ["skew", "drift", "topics"]
        where scenario.recorded != nil && section.line(of: key) != nil {
            section.refuse(
                key, "`\(key)` would do nothing: shares come from the recorded run",
                expected: "`\(key)` without `recorded`", example: "remove `\(key)`")
            return false
        }
        return (section.line(of: "recorded") == nil || scenario.recorded != nil)
            && (section.line(of: "owned") == nil || scenario.owned != nil)
    }
}
