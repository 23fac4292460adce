import ClusterFile
import ClusterModel
import Testing

/// Regions with texts of their own, many workers in one line, and the group for simulated routing.
struct ExpertReadingTests {
    private func read(_ old: String, _ new: String) throws -> ClusterFile {
        try ClusterFile.read(
            yaml: Sample.twoRegions(replacing: old, with: new), file: "test.yaml")
    }

    @Test func expertsCountByTheirTokensUnlessTold() throws {
        let plain = try read("seed: 7", "model: {experts: 4}")
        #expect(plain.configuration.schedule.expertWeights == .tokens)
        #expect(plain.configuration.expertBlocks(elements: 1).isEmpty == true)
        let count = plain.configuration.model.parameterCount
        #expect(plain.configuration.expertBlocks(elements: count).count == 2)
        let mean = try read(
            "sync_every: 30}", "sync_every: 30, expert_weights: mean}\nmodel: {experts: 4}")
        #expect(mean.configuration.schedule.expertWeights == .mean)
        #expect(mean.configuration.expertBlocks(elements: count).isEmpty)
    }

    @Test func rarelyUsedExpertsCrossInFewerRounds() throws {
        let model = "\nmodel: {experts: 4, width: 32, heads: 4}"
        let file = try read("sync_every: 30}", "sync_every: 30, expert_rounds: 8}" + model)
        #expect(file.configuration.greatestExpertPeriod == 8)
        let note = CheckReport(file, path: "t").notes.first { $0.contains("at least in 1 of 8") }
        #expect(note?.contains("% to 100 % of the bytes above") == true)
        let every = try read("sync_every: 30}", "sync_every: 30, expert_rounds: 1}" + model)
        #expect(every.configuration.schedule.expertRounds == nil)
        #expect(
            every.configuration
                == (try read("sync_every: 30}", "sync_every: 30}" + model)).configuration)
    }

    @Test(arguments: [
        ("outer: every-step, expert_rounds: 4", "averaged after each step"),
        (
            "outer: diloco, sync_every: 30, expert_weights: mean, expert_rounds: 4",
            "needs the tokens of each expert"
        ),
        (
            "outer: diloco, sync_every: 30, outer_optimiser: delayed-nesterov, momentum_every: 2, "
                + "expert_rounds: 4", "does not go with"
        ),
    ])
    func whereRoundsCannotLeaveExpertsOutItIsSaid(schedule: String, says: String) throws {
        let issues = Sample.issues(
            try Sample.twoRegions(
                replacing: "schedule: {inner: every-step, outer: diloco, sync_every: 30}",
                with: "schedule: {\(schedule)}\nmodel: {experts: 4}"))
        #expect(issues.map(\.keyPath) == ["schedule.expert_rounds"], "\(issues)")
        #expect(issues.first?.problem.contains(says) == true, "\(issues)")
    }

    @Test func expertsCanBeKeptByTheirHolders() throws {
        let model = "model: {experts: 4, spread: region, keep: holder}"
        let file = try read("seed: 7", model)
        #expect(file.configuration.keepsExpertsAtHolders)
        let note = CheckReport(file, path: "t").notes.first { $0.contains("none of an expert") }
        #expect(note?.contains("kept by who computes it") == true)
        let usual = try read("seed: 7", "model: {experts: 4, spread: region}")
        #expect(!usual.configuration.keepsExpertsAtHolders)
        for (schedule, says) in [
            ("outer: every-step", "rounds that a replica waits for"),
            ("outer: diloco, sync_every: 30, expert_rounds: 4", "with `expert_rounds`"),
        ] {
            let issues = Sample.issues(
                try Sample.twoRegions(
                    replacing: "schedule: {inner: every-step, outer: diloco, sync_every: 30}",
                    with: "schedule: {inner: every-step, \(schedule)}\n\(model)"))
            #expect(issues.map(\.keyPath) == ["model.keep"], "\(issues)")
            #expect(issues.first?.problem.contains(says) == true, "\(issues)")
        }
    }

    @Test func aRegionDrawsFromItsPart() throws {
        let file = try read("  west:\n", "  west:\n    text: {from: 0.25, to: 0.5}\n")
        #expect(file.topology.regions.map(\.text) == [nil, .init(from: 0.25, to: 0.5)])
        let half = try read("  west:\n", "  west:\n    text: {from: 0.5}\n")
        #expect(half.topology.regions[1].text == .init(from: 0.5, to: 1))
        #expect(CheckReport(half, path: "t").notes.contains { $0.contains("west draws from") })
    }

    @Test(arguments: [
        ("  west:\n", "  west:\n    text: {from: 0.5, to: 0.5}\n", "regions.west.text.to"),
        ("  west:\n", "  west:\n    text: {from: 1.5}\n", "regions.west.text.from"),
        ("  west:\n", "  west:\n    text: {until: 0.5}\n", "regions.west.text.until"),
        ("{name: w1,", "{name: w1, count: 0,", "regions.west.workers[0].count"),
        ("{name: w1,", "{name: w1, count: 20000,", "regions.west.workers[0].count"),
        (
            "- {name: w2,", "- {name: w1-1, batch: 2}\n      - {name: w1, count: 2,",
            "regions.west.workers[2].name"
        ),
        ("seed: 7", "routing: {skew: 1}", "routing"),
        ("seed: 7", "model: {experts: 4}\nrouting: {skwe: 1}", "routing.skwe"),
        ("seed: 7", "model: {experts: 4}\nrouting: {regions_kept: 1}", "routing.regions_kept"),
        ("seed: 7", "model: {experts: 4}\nrouting: {recorded: r, drift: 0.1}", "routing.drift"),
        ("seed: 7", "model: {experts: 4}\nrouting: {budget: 0.1}", "routing.budget"),
        ("seed: 7", "model: {experts: 4}\nrouting: {across: budget, budget: 2}", "routing.budget"),
        ("seed: 7", "model: {experts: 4}\nrouting: {across: always, owned: 1}", "routing.owned"),
        // Each region needs the two that a token uses.
        ("seed: 7", "model: {experts: 4}\nrouting: {across: budget, owned: 3}", "routing.owned"),
        ("seed: 7", "model: {experts: 4}\nrouting: {inside: unlimited}", "routing.inside"),
    ])
    func whatIsWrongIsNamed(old: String, new: String, keyPath: String) throws {
        let issues = Sample.issues(try Sample.twoRegions(replacing: old, with: new))
        #expect(issues.first?.keyPath == keyPath, "\(issues)")
    }

    private static let budget = "model: {experts: 4, width: 32, heads: 4, across: budget"

    @Test func coldExpertsBelongToOneRegion() throws {
        let plain = try read("seed: 7", "model: {experts: 4}")
        #expect(plain.configuration.model.experts?.crossing == nil)
        let never = try read("seed: 7", "model: {experts: 4, across: never}")
        #expect(never.configuration.model == plain.configuration.model)
        let file = try read("seed: 7", Self.budget + ", owned: 2, token_wire: int8}")
        #expect(
            file.configuration.model.experts?.crossing == .init(budget: 0.1, tokens: nil, owned: 2))
        // 20 Mbit/s x 10 ms are 25,000 bytes; a visit takes 2 x 32 x (1 + 4 / 256) + 16; four of eight
        // samples.
        let tokens = Int(25_000.0 / (65 + 16) / 2)
        let note = try #require(
            CheckReport(file, path: "t").notes.first { $0.contains("computed in one region only") })
        #expect(note.contains("east to west \(tokens) ("), "\(note)")
        // A direction has its own tokens and the answers to the other's: 65 + 16 and 65 + 8 bytes.
        let bytes = Double(tokens * (81 + 73))
        #expect(note.contains("(\(Figures.bytes(bytes)))"), "\(note)")
        #expect(note.contains("waits 4 round trips (120 ms)"), "\(note)")
        try checkTokens(CheckReport(file, path: "t"), bytes: bytes)
        let number = try read("seed: 7", Self.budget + ", budget_tokens: 50}")
        #expect(number.configuration.model.experts?.crossing?.tokens == 50)
        let auto = try read("seed: 7", Self.budget + ", budget: auto}")
        #expect(auto.configuration.model.experts?.crossing == .init(budget: nil))
    }

    /// In the link table, beside the experts' bytes, and in the prediction.
    private func checkTokens(_ report: CheckReport, bytes: Double) throws {
        #expect(report.links.map(\.tokenBytesPerStep) == [bytes, bytes])
        let prediction = try #require(report.prediction)
        let wait = 4 * 0.030 + bytes * 8 / 20e6
        #expect(abs(try #require(prediction.tokenWaitSeconds) - wait) < 1e-9)
        let blocked = Double(report.links[0].bytesPerRound) * 8 / 20e6 + 0.030
        #expect(abs(prediction.blockedSeconds - blocked) < 1e-6)
        let between = 30 * (0.1 + wait) + blocked
        #expect(abs(prediction.secondsBetweenRounds - between) < 1e-6)
        #expect(abs(prediction.computeUtilisation - 3 / between) < 1e-9)
        for part in ["tokens/step", "besides: tokens to experts", "each step waits at most"] {
            #expect(report.text.contains(part), "\(part) is missing in:\n\(report.text)")
        }
    }

    @Test func aWorkerOfManySequencesWaitsOncePerPass() throws {
        let yaml = try Sample.twoRegions(replacing: "batch: 3", with: "batch: 17")
        let file = try ClusterFile.read(yaml: yaml + "\n" + Self.budget + "}", file: "t")
        // 16 sequences of 128 in a pass.
        let note = CheckReport(file, path: "t").notes.first {
            $0.contains("8 round trips (240 ms)")
        }
        #expect(note != nil)
    }

    @Test func budgetsOfZeroAreSaidToBeNone() throws {
        let report = CheckReport(
            try read("seed: 7", Self.budget + ", budget_tokens: 0}"), path: "t")
        #expect(report.notes.contains { $0.contains("no budget lets a token leave") })
        #expect(report.links.map(\.tokenBytesPerStep) == [0, 0])
        #expect(report.prediction?.tokenWaitSeconds == nil)
    }

    @Test func aBudgetIsNoMoreThanAllTokens() throws {
        let file = try read("seed: 7", Self.budget + ", budget_tokens: 1000000}")
        // Four sequences of 128 in two layers each way: 1,024 visits of 272 and 264 bytes.
        #expect(CheckReport(file, path: "t").links[0].tokenBytesPerStep == 548_864.0)
    }

    @Test func aBudgetOfTheFileNeedsItsSteps() throws {
        let yaml = Sample.twoRegions.replacing(", step: 100 ms", with: "") + "\n" + Self.budget
        let issues = Sample.issues(yaml + "}")
        #expect(issues.map(\.keyPath) == ["model.across"], "\(issues)")
        #expect(issues.first?.problem.contains("goes by the time of a step") == true)
        #expect(Sample.issues(yaml + ", budget_tokens: 9}").isEmpty)
        let adapting = yaml.replacing("seed: 7\n", with: "") + "}"
        #expect(Sample.issues(adapting).isEmpty)
        let file = try ClusterFile.read(yaml: adapting, file: "t")
        #expect(CheckReport(file, path: "t").notes.contains { $0.contains("the measured step") })
    }

    @Test(arguments: [
        ("seed: 7", "model: {experts: 4, across: always}", "across", "found `always`"),
        ("seed: 7", budget + ", top_k: 4}", "across", "can own nothing"),
        ("seed: 7", budget + ", top_k: 4, owned: 1}", "across", "can own nothing"),
        ("seed: 7", budget + ", owned: 0}", "owned", "found `0`"),
        ("seed: 7", budget + ", owned: 7, token_wire: int8}", "owned", "found `7`"),
        ("seed: 7", budget + ", budget_tokens: x}", "budget_tokens", "found `x`"),
        ("seed: 7", "model: {experts: 4, owned: 1}", "owned", "would do nothing"),
        ("seed: 7", "model: {experts: 4, budget: 0.5}", "budget", "would do nothing"),
        ("seed: 7", budget + ", owned: 3}", "owned", "found `3`"),
        ("seed: 7", budget + ", budget: 1.5}", "budget", "found `1.5`"),
        ("seed: 7", budget + ", budget: 0.5, budget_tokens: 3}", "budget_tokens", "two budgets"),
        ("seed: 7", budget + ", spread: region}", "across", "does not go with `spread"),
        ("seed: 7", budget + ", groups: 2, groups_kept: 1}", "across", "limited groups"),
        ("sync_every: 30}", "sync_every: 30, expert_rounds: 4}\n" + budget + "}", "across", "yet"),
        (
            "sync_every: 30}", "sync_every: 30, expert_weights: mean}\n" + budget + "}", "across",
            "must not count"
        ),
        (
            "outer: diloco, sync_every: 30}", "outer: every-step}\n" + budget + "}", "across",
            "step as one"
        ),
        (
            "sync_every: 30}", "sync_every: 30, local_steps: nominal}\n" + budget + "}", "across",
            "the same steps"
        ),
    ])
    func whereTokensCannotCrossItIsSaid(old: String, new: String, key: String, says: String) throws
    {
        let issues = Sample.issues(try Sample.twoRegions(replacing: old, with: new))
        // Nothing false beside it.
        #expect(issues.map(\.keyPath) == ["model." + key], "\(issues)")
        #expect(issues.first?.problem.contains(says) == true, "\(issues)")
    }

    @Test func aWrongBudgetIsNotAMissingLink() {
        let links =
            "links:\n  - {between: [east, west], distance: 1500 km, one_way: 15 ms, rate: 20 Mbit/s}\n"
        let yaml = Sample.twoRegions.replacing(links, with: "")
        let issues = Sample.issues(yaml + "\n" + Self.budget + ", budget_tokens: -1}")
        #expect(issues.map(\.keyPath) == ["model.budget_tokens"], "\(issues)")
    }

    @Test func manyAlikeStandInOneLine() throws {
        let file = try read("{name: w1,", "{name: w, count: 3,")
        #expect(
            file.topology.seats.map(\.worker.name) == ["e1", "e2", "w-1", "w-2", "w-3", "w2"])
        let issues = Sample.issues(
            try Sample.twoRegions(replacing: "{name: e2,", with: "{name: w2,"))
        #expect(issues.map(\.keyPath) == ["regions.west.workers[1].name"])
    }

    @Test func routingHasItsDefaultsAndItsKeys() throws {
        let file = try read(
            "seed: 7",
            "model: {experts: 4}\nrouting: {across: limited, regions_kept: 2, tokens: 64, topics: 2}"
        )
        var expected = RoutingScenario()
        (expected.across, expected.regionsKept) = (.limited, 2)
        (expected.tokens, expected.topics) = (64, 2)
        #expect(file.routing == expected)
        #expect(try read("seed: 7", "model: {experts: 4}").routing == nil)
        let budget = try read("seed: 7", "model: {experts: 4}\nrouting: {across: budget, owned: 2}")
        #expect(budget.routing?.budget == 0.1 && budget.routing?.owned == 2)
        let auto = try read(
            "seed: 7", "model: {experts: 4}\nrouting: {across: budget, budget: auto}")
        #expect(auto.routing?.across == .budget && auto.routing?.budget == nil)
    }

    @Test func bytesOfOtherWaysAreReckonedByHand() throws {
        let file = try read("seed: 7", "model: {experts: 4, width: 32, heads: 4, context: 64}")
        let report = CheckReport(file, path: "t")
        let experts = try #require(report.experts)
        let tokens = 64.0 * (3 + 1 + 2 + 2)
        #expect(abs(experts.everyStep - Double(report.bytesPerRound) / tokens) < 1e-9)
        #expect(abs(experts.configured * 30 - experts.everyStep) < 1e-9)
        // Two of four experts are abroad: 1 - (2/4)(1/3) tokens need one of them.
        #expect(abs(experts.foreignRegions - 5.0 / 6) < 1e-12)
        #expect(abs(experts.tokensCross - 5.0 / 6 * 4 * 2 * 32 * 2) < 1e-9)
        #expect(report.text.contains("tokens cross to their experts"))
        #expect(CheckReport(try read("seed: 7", "seed: 8"), path: "t").experts == nil)
    }
}
