import ClusterFile
import ClusterModel
import Testing

/// `outer: decoupled`.
struct ClosingReadingTests {
    private func read(_ schedule: String) throws -> ClusterFile {
        try ClusterFile.read(
            yaml: try Sample.twoRegions(replacing: "outer: diloco, sync_every: 30", with: schedule),
            file: "test.yaml")
    }

    @Test func defaultsAreHalfOfTheReplicasAndAQuarterOfARound() throws {
        let schedule = try read("outer: decoupled, sync_every: 30").configuration.schedule
        #expect(schedule.outer == .decoupled && schedule.fragments == 1 && schedule.overlap == 0)
        #expect(schedule.outerLearningRate == 0.7 && schedule.outerMomentum == 0.9)
        #expect(
            schedule.closing
                == ClosingRules(
                    quorum: 1, graceFactor: 3_000, graceMost: .milliseconds(750), lateWeight: 500))
        let single = try Sample.twoRegions(
            replacing: "inner: every-step, outer: diloco", with: "inner: none, outer: decoupled"
        ).replacing(", step: 100 ms", with: "")
        let file = try ClusterFile.read(yaml: single, file: "test.yaml")
        #expect(file.configuration.schedule.closing?.quorum == 2)
        #expect(file.configuration.schedule.closing?.graceMost == .seconds(2))
    }

    @Test func everyKeyIsRead() throws {
        let yaml = try Sample.twoRegions(
            replacing: "inner: every-step, outer: diloco, sync_every: 30",
            with: "inner: none, outer: decoupled, sync_every: 30, quorum: 3, grace_k: 2.5, "
                + "grace_most: 80 ms, staleness: 0.25")
        let schedule = try ClusterFile.read(yaml: yaml, file: "test.yaml").configuration.schedule
        #expect(
            schedule.closing
                == ClosingRules(
                    quorum: 3, graceFactor: 2_500, graceMost: .milliseconds(80), lateWeight: 250))
    }

    @Test(arguments: [
        ("outer: decoupled, sync_every: 30, quorum: 0", "schedule.quorum"),
        ("outer: decoupled, sync_every: 30, quorum: 3", "schedule.quorum"),
        ("outer: decoupled, sync_every: 30, grace_k: -1", "schedule.grace_k"),
        ("outer: decoupled, sync_every: 30, grace_most: 3", "schedule.grace_most"),
        ("outer: decoupled, sync_every: 30, staleness: 0", "schedule.staleness"),
        ("outer: decoupled, sync_every: 30, staleness: 1.5", "schedule.staleness"),
        ("outer: decoupled, sync_every: 30, quorum: 2, staleness: 0.5", "schedule.staleness"),
        ("outer: decoupled, sync_every: 30, fragments: 2", "schedule.fragments"),
        ("outer: decoupled, sync_every: 30, overlap: 2", "schedule.overlap"),
        ("outer: decoupled, sync_every: 90", "schedule.sync_every"),
        ("outer: decoupled, sync_every: 30, local_steps: measured", "schedule.local_steps"),
        ("outer: diloco, sync_every: 30, quorum: 1", "schedule.quorum"),
        ("outer: every-step, staleness: 0.5", "schedule.staleness"),
    ])
    func nonsenseIsRefused(schedule: String, keyPath: String) throws {
        let issues = Sample.issues(
            try Sample.twoRegions(
                replacing: "outer: diloco, sync_every: 30", with: schedule))
        #expect(issues.map(\.keyPath) == [keyPath], "\(issues)")
        #expect(issues.allSatisfy { !$0.expected.isEmpty && !$0.example.isEmpty })
    }

    @Test func fragmentsAreRefusedWithTheReason() throws {
        let issues = Sample.issues(
            try Sample.twoRegions(
                replacing: "outer: diloco, sync_every: 30",
                with: "outer: decoupled, sync_every: 30, fragments: 2"))
        #expect(
            issues.first?.problem.contains("a replica that is late would hold up the turns") == true
        )
    }

    @Test func expertsAreRefused() throws {
        let yaml = try Sample.twoRegions(
            replacing: "outer: diloco, sync_every: 30", with: "outer: decoupled, sync_every: 30"
        ).replacing("seed: 7", with: "seed: 7\nmodel: {experts: 4}")
        #expect(Sample.issues(yaml).map(\.keyPath) == ["schedule.outer"])
    }

    @Test func checkSaysWhoOffersHowOftenAndWhenRoundsAreClosed() throws {
        let yaml = try Sample.twoRegions(
            replacing: "outer: diloco, sync_every: 30", with: "outer: decoupled, sync_every: 30"
        ).replacing("batch: 2, step: 100 ms", with: "batch: 2, step: 300 ms")
        let report = CheckReport(
            try ClusterFile.read(yaml: yaml, file: "test.yaml"), path: "test.yaml")
        let decoupled = try #require(report.decoupled)
        #expect(decoupled.paces.map(\.secondsPerOffer) == [3, 9])
        #expect(decoupled.paces.map(\.secondsOfTraining) == [6, 18])
        // 60 steps each: east is done after a third of the time. Nothing blocks.
        #expect(report.prediction?.blockedSeconds == 0)
        #expect(abs((report.prediction?.computeUtilisation ?? 0) - (6.0 + 18) / 36) < 1e-9)
        let text = report.text.split { $0.isWhitespace }.joined(separator: " ")
        #expect(text.contains("1 of them and the grace is over: median + 3 x MAD"))
        #expect(text.contains("has taken all its steps after 33.3 % of the time"))
    }

    @Test func encodingsThatChangeAtBoundariesAreRefused() throws {
        let issues = Sample.issues(
            try Sample.twoRegions(
                replacing: "outer: diloco, sync_every: 30", with: "outer: decoupled, sync_every: 30"
            ).replacing("between: int8", with: "between: auto"))
        #expect(issues.map(\.keyPath) == ["wire.between"], "\(issues)")
    }
}
