import ClusterFile
import Testing

/// What is wrong is refused with its line, its key path, what was expected and an example.
struct RefusalTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var old: String
        var new: String
        var line: Int
        var keyPath: String
        var says: String
        var testDescription: String { new }
    }

    private static let cases = [
        Case(
            old: "batch: 3", new: "bacth: 3", line: 8, keyPath: "regions.east.workers[0].bacth",
            says: "did you mean `batch`?"),
        Case(
            old: "sync_every", new: "syncEvery", line: 16, keyPath: "schedule.syncEvery",
            says: "did you mean `sync_every`?"),
        Case(old: "steps: 60", new: "steps: 0", line: 2, keyPath: "steps", says: "found `0`"),
        Case(old: "steps: 60", new: "steps: many", line: 2, keyPath: "steps", says: "`many`"),
        Case(
            old: "name: test", new: "name: a b", line: 1, keyPath: "name", says: "found `a b`"),
        Case(
            old: "name: e2", new: "name: e1", line: 9, keyPath: "regions.east.workers[1].name",
            says: "line 8"),
        Case(
            old: "15 ms", new: "15", line: 15, keyPath: "links[0].one_way", says: "found `15`"),
        Case(
            old: "15 ms", new: "5 ms", line: 15, keyPath: "links[0].one_way",
            says: "faster than light"),
        Case(
            old: "one_way: 15 ms", new: "one_way: 15 ms, rtt: 30 ms", line: 15,
            keyPath: "links[0].rtt", says: "twice"),
        Case(
            old: "[east, west]", new: "[east, wst]", line: 15, keyPath: "links[0].between",
            says: "did you mean `west`?"),
        Case(
            old: "coordinator: east", new: "coordinator: north", line: 4, keyPath: "coordinator",
            says: "found `north`"),
        Case(
            old: "int8", new: "int7", line: 17, keyPath: "wire.between", says: "found `int7`"),
        Case(
            old: "inside: fp32", new: "inside: bf16", line: 17, keyPath: "wire.inside",
            says: "found `bf16`"),
        Case(
            old: "seed: 7", new: "model: {heads: 3}", line: 3, keyPath: "model.heads",
            says: "do not divide"),
        Case(
            old: "seed: 7", new: "model: {synthetic: 4096, width: 64}", line: 3,
            keyPath: "model.width", says: "a synthetic model is a number of parameters"),
        Case(
            old: "seed: 7", new: "model: {synthetic: 4096, experts: 8}", line: 3,
            keyPath: "model.experts", says: "a synthetic model is a number of parameters"),
        Case(
            old: "seed: 7", new: "model: {synthetic: 7}", line: 3, keyPath: "model.synthetic",
            says: "found `7`"),
        Case(
            old: "seed: 7", new: "model: {synthetic: 4096}\ndata: {path: gcide}", line: 4,
            keyPath: "data", says: "reads no text"),
        Case(
            old: "seed: 7", new: "model: {synthetic: 4096}\ntraining: {learning_rate: 0.01}",
            line: 4, keyPath: "training.learning_rate", says: "learns nothing"),
        Case(
            old: "coordinator: east\nregions:\n  east:\n",
            new: "coordinator: east\nmodel: {synthetic: 4096}\nregions:\n  east:\n"
                + "    text: {from: 0, to: 0.5}\n", line: 8, keyPath: "regions.east.text",
            says: "reads no text"),
        Case(
            old: "seed: 7", new: "model: {expert: 8}", line: 3, keyPath: "model.expert",
            says: "did you mean `experts`?"),
        Case(
            old: "seed: 7", new: "model: {top_k: 2}", line: 3, keyPath: "model.top_k",
            says: "has no experts"),
        Case(
            old: "sync_every: 30", new: "sync_every: 30, expert_weights: tokens", line: 16,
            keyPath: "schedule.expert_weights", says: "has no experts"),
        Case(
            old: "sync_every: 30", new: "sync_every: 30, expert_rounds: 8", line: 16,
            keyPath: "schedule.expert_rounds", says: "has no experts"),
        Case(
            old: "sync_every: 30", new: "sync_every: 30, expert_rounds: 6", line: 16,
            keyPath: "schedule.expert_rounds", says: "found `6`"),
        Case(
            old: "seed: 7", new: "model: {experts: 1}", line: 3, keyPath: "model.experts",
            says: "found `1`"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, spread: regions}", line: 3,
            keyPath: "model.spread", says: "`regions`"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, spread: region, token_wire: int4}", line: 3,
            keyPath: "model.token_wire", says: "`int4`"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, top_k: 9}", line: 3, keyPath: "model.top_k",
            says: "found `9`"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, gate: relu}", line: 3, keyPath: "model.gate",
            says: "found `relu`"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, expert_width: 100}", line: 3,
            keyPath: "model.expert_width", says: "vectors of eight"),
        Case(
            old: "seed: 7", new: "model: {layers: 128, experts: 1024}", line: 3,
            keyPath: "model.experts", says: "1024 experts in each of 128 layers"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, groups: 3}", line: 3,
            keyPath: "model.groups", says: "do not divide 8 experts"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, groups: 2, groups_kept: 3}", line: 3,
            keyPath: "model.groups_kept", says: "3 of 2 groups"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, top_k: 3, groups: 4}", line: 3,
            keyPath: "model.top_k", says: "fewer than the 3"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, capacity: 0.01}", line: 3,
            keyPath: "model.capacity", says: "no expert would take a token"),
        Case(
            old: "seed: 7", new: "model: {experts: 8, balance: none, balance_rate: 0.1}", line: 3,
            keyPath: "model.balance_rate", says: "would do nothing"),
        Case(
            old: "seed: 7", new: "data: {path: text.txt}", line: 3, keyPath: "data.path",
            says: "found `text.txt`"),
        Case(
            old: "seed: 7", new: "deadlines: {patience: 20 s}", line: 3,
            keyPath: "deadlines.patience", says: "nothing would ever be said"),
        Case(
            old: "seed: 7", new: "deadlines: {silence: 4 s, patience: 1 s}", line: 3,
            keyPath: "deadlines.silence", says: "found 4"),
        Case(
            old: "seed: 7", new: "deadlines: {minimum_workers: 5}", line: 3,
            keyPath: "deadlines.minimum_workers", says: "would never start"),
    ]

    @Test(arguments: cases)
    func oneMistakeGivesOneIssueWithItsPlace(mistake: Case) throws {
        let yaml = try Sample.twoRegions(replacing: mistake.old, with: mistake.new)
        let issues = Sample.issues(yaml)
        let issue = try #require(issues.first)
        #expect(issues.count == 1)
        #expect(issue.line == mistake.line)
        #expect(issue.keyPath == mistake.keyPath)
        #expect(issue.problem.contains(mistake.says))
        #expect(!issue.expected.isEmpty)
        #expect(!issue.example.isEmpty)
    }

    @Test(arguments: [
        ("diloco, sync_every: 30", "every-step, sync_every: 30", "schedule.sync_every"),
        ("diloco, sync_every: 30", "every-step, outer_lr: 0.7", "schedule.outer_lr"),
        (
            "diloco, sync_every", "local-sgd, outer_momentum: 0.9, sync_every",
            "schedule.outer_momentum"
        ),
        ("sync_every: 30", "sync_every: 90", "schedule.sync_every"),
        ("sync_every: 30", "sync_every: 7", "schedule.sync_every"),
        (
            "schedule: {inner: every-step, outer: diloco, sync_every: 30}",
            "model: {experts: 4}\nschedule: {outer: every-step, expert_weights: mean}",
            "schedule.expert_weights"
        ),
        ("seed: 7", "model: {experts: 8, token_wire: int8}", "model.token_wire"),
        ("seed: 7", "model: {experts: 8, place_every: 20}", "model.place_every"),
        ("seed: 7", "model: {experts: 8, keep: holder}", "model.keep"),
        ("seed: 7", "training: {evaluate_every: 61}", "training.evaluate_every"),
        ("seed: 7", "training: {checkpoint_every: 3}", "training.checkpoint_every"),
        ("seed: 7", "training: {warmup_steps: 60}", "training.warmup_steps"),
    ])
    func whatWouldSilentlyDoNothingIsRefused(old: String, new: String, keyPath: String) throws {
        let issues = Sample.issues(try Sample.twoRegions(replacing: old, with: new))
        #expect(issues.map(\.keyPath) == [keyPath])
    }

    @Test(arguments: [
        ("schedule: {outer: diloco, sync_every: 30}", "schedule.outer"),
        ("schedule: {inner: none, outer: local-sgd, sync_every: 30}", "schedule.outer"),
        ("wire: {between: int8}", "wire.between"),
        ("links: []", "links"),
    ])
    func whatOneWorkerCannotUseIsRefused(line: String, keyPath: String) {
        let issues = Sample.issues(Sample.oneWorker + "\n" + line)
        #expect(issues.map(\.keyPath) == [keyPath])
    }

    /// Tokens have nowhere to go where workers train apart, or alone.
    @Test func expertsAreSpreadOverWorkersThatTakeEveryStepTogether() throws {
        let spread = "model: {experts: 8, spread: region}"
        let sound = try Sample.twoRegions(replacing: "seed: 7", with: spread)
        #expect(Sample.issues(sound) == [])
        let apart = sound.replacing("inner: every-step", with: "inner: none")
        #expect(Sample.issues(apart).map(\.keyPath) == ["model.spread"])
        #expect(Sample.issues(apart).first?.problem.contains("together") == true)
        let alone = Sample.issues(Sample.oneWorker + "\n" + spread)
        #expect(alone.map(\.keyPath) == ["model.spread"])
        #expect(alone.first?.problem.contains("no region has two workers") == true)
    }

    @Test func aPairOfRegionsWithoutALinkIsNamed() throws {
        let yaml = try Sample.twoRegions(
            replacing: "links:", with: "  north: {workers: [{name: n1, batch: 1}]}\nlinks:")
        let issue = try #require(Sample.issues(yaml).first)
        #expect(issue.keyPath == "links")
        #expect(issue.problem.contains("east - north"))
        #expect(issue.problem.contains("west - north"))
    }

    @Test func allMistakesComeAtOnceInFileOrder() throws {
        let yaml = """
            name: a b
            stepz: 10
            regions:
              x: {workers: []}
            model: {heads: 3}
            """
        #expect(Sample.issues(yaml).map(\.line) == [1, 2, 4, 5])
    }

    @Test func theTextNamesFileLineKeyExpectationAndExample() throws {
        let yaml = try Sample.twoRegions(replacing: "20 Mbit/s", with: "20")
        let error = try #require(throws: ClusterFileError.self) {
            try ClusterFile.read(yaml: yaml, file: "Cluster/test.yaml")
        }
        #expect(
            "\(error)" == """
                Cluster/test.yaml:15: links[0].rate: found `20`
                    expected: the rate in each direction with its unit (kbit/s, Mbit/s, Gbit/s), \
                from 1 kbit/s to 1 Tbit/s, or `unlimited`
                    example:  rate: 200 Mbit/s
                """)
    }

    @Test(arguments: [
        ("", "empty"), ("steps: [1", "not YAML"), ("steps: 1\nsteps: 2", "stands twice"),
        ("- 1", "not a group"),
    ])
    func whatIsNoClusterFileIsSaid(yaml: String, says: String) throws {
        #expect(try #require(Sample.issues(yaml).first).problem.contains(says))
    }

    @Test func aMissingFileIsNamed() {
        let error = #expect(throws: ClusterFileError.self) {
            try ClusterFile.load(path: "/nonexistent/cluster.yaml")
        }
        #expect(
            error.map { "\($0)".hasPrefix("/nonexistent/cluster.yaml: there is no such") } == true)
    }
}
