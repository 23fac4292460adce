import ClusterFile
import ClusterModel
import Testing

/// `outer: streaming`, outer optimisers and local steps.
struct StreamingReadingTests {
    private static let streaming = "outer: streaming, sync_every: 30, fragments: 2"

    private func read(_ schedule: String) throws -> ClusterFile {
        try ClusterFile.read(
            yaml: try Sample.twoRegions(replacing: "outer: diloco, sync_every: 30", with: schedule),
            file: "test.yaml")
    }

    @Test func streamingHasTheDefaultsOfThePaper() throws {
        let schedule = try read(Self.streaming).configuration.schedule
        #expect(schedule.outer == .streaming && schedule.fragments == 2)
        #expect(schedule.overlap == 1 && schedule.blend == 0.5)
        #expect(schedule.outerLearningRate == 0.4 && schedule.outerMomentum == 0.9)
        let layers = try read(
            "outer: streaming, sync_every: 30, fragment_layers: 2, overlap: 5, blend: 0"
        ).configuration.schedule
        #expect(layers.fragments == 1 && layers.overlap == 5 && layers.blend == 0)
    }

    @Test func outerOptimisersAreRead() throws {
        let plain = try read("outer: diloco, sync_every: 30, outer_optimiser: sgd")
        #expect(plain.configuration.schedule.optimiser == .sgd)
        #expect(plain.configuration.schedule.outerLearningRate == 1)
        #expect(plain.configuration.schedule.outerMomentum == 0)
        let delayed = try read(
            "outer: diloco, sync_every: 30, outer_optimiser: delayed-nesterov, momentum_every: 4")
        #expect(delayed.configuration.schedule.optimiser == .delayedNesterov)
        #expect(delayed.configuration.schedule.momentumEvery == 4)
    }

    @Test(arguments: [
        ("outer: streaming, sync_every: 30", "schedule.outer"),
        ("outer: streaming, sync_every: 30, fragments: 3", "schedule.fragments"),
        ("outer: streaming, sync_every: 30, fragment_layers: 3", "schedule.fragment_layers"),
        (
            "outer: streaming, sync_every: 30, fragments: 1, fragment_layers: 2",
            "schedule.fragment_layers"
        ),
        ("outer: streaming, sync_every: 1, fragments: 2", "schedule.sync_every"),
        ("outer: streaming, sync_every: 30, fragments: 2, overlap: 30", "schedule.overlap"),
        ("outer: streaming, sync_every: 30, fragments: 2, blend: 1", "schedule.blend"),
        ("outer: diloco, sync_every: 30, overlap: 1", "schedule.overlap"),
        ("outer: every-step, fragments: 2", "schedule.fragments"),
        ("outer: every-step, local_steps: nominal", "schedule.local_steps"),
        ("outer: diloco, sync_every: 30, outer_optimiser: adam", "schedule.outer_optimiser"),
        (
            "outer: diloco, sync_every: 30, outer_optimiser: delayed-nesterov",
            "schedule.outer_optimiser"
        ),
        ("outer: diloco, sync_every: 30, momentum_every: 4", "schedule.momentum_every"),
        (
            "outer: diloco, sync_every: 30, outer_optimiser: sgd, outer_momentum: 0.9",
            "schedule.outer_momentum"
        ),
        ("outer: local-sgd, sync_every: 30, outer_optimiser: sgd", "schedule.outer_optimiser"),
    ])
    func whatDoesNotComeOutEvenIsRefused(schedule: String, keyPath: String) throws {
        let issues = Sample.issues(
            try Sample.twoRegions(replacing: "outer: diloco, sync_every: 30", with: schedule))
        #expect(issues.map(\.keyPath) == [keyPath], "\(issues)")
    }

    @Test func localStepsNeedStepTimesAndRoomForTheFragments() throws {
        let unpaced = try Sample.twoRegions(
            replacing: "outer: diloco, sync_every: 30",
            with: "outer: diloco, sync_every: 30, local_steps: nominal"
        ).replacing("{name: w2, batch: 2, step: 100 ms}", with: "{name: w2, batch: 2}")
        #expect(Sample.issues(unpaced).map(\.keyPath) == ["schedule.local_steps"])
        let slow = try Sample.twoRegions(
            replacing: "outer: diloco, sync_every: 30",
            with: "outer: streaming, sync_every: 4, fragments: 2, local_steps: nominal"
        ).replacing("batch: 2, step: 100 ms", with: "batch: 2, step: 300 ms")
        #expect(Sample.issues(slow).map(\.keyPath) == ["schedule.local_steps"])
    }

    @Test func checkSaysWhatLeavesWhenAndWhetherItFits() throws {
        let report = CheckReport(
            try read("outer: streaming, sync_every: 30, fragments: 2, overlap: 1"), path: "t")
        let streaming = try #require(report.streaming)
        #expect(report.fragments == 2 && streaming.fragments.map(\.firstStep) == [30, 15])
        let total = report.parameterCount
        #expect(streaming.fragments.reduce(0) { $0 + $1.values } == total)
        #expect(streaming.hiddenSeconds == 0.1)
        // 479 kB of int8 at 20 Mbit/s: 195 ms for the model, some 97 ms for each half, 30 ms round trip.
        #expect(streaming.fragments.allSatisfy { $0.fits == false })
        let prediction = try #require(report.prediction)
        let late = streaming.fragments.reduce(0) { $0 + ($1.transferSeconds ?? 0) + 0.03 - 0.1 }
        #expect(abs(prediction.secondsBetweenRounds - (3 + late)) < 1e-9)
        #expect(report.text.contains("2 of 2 do not fit"))
        let roomy = CheckReport(
            try read("outer: streaming, sync_every: 30, fragments: 2, overlap: 2"), path: "t")
        #expect(roomy.streaming?.fragments.allSatisfy { $0.fits == true } == true)
        #expect(roomy.prediction?.computeUtilisation == 1)
    }

    @Test func anOverlapIsChosenFromLinksAndSteps() throws {
        let auto = "outer: streaming, sync_every: 30, fragments: 2, overlap: auto"
        let file = try read(auto)
        #expect(file.configuration.schedule.choosesOverlap == true)
        let report = CheckReport(file, path: "t")
        let streaming = try #require(report.streaming)
        // Some 97 ms for each half and 30 ms of way: 1.3 steps of 100 ms.
        #expect(streaming.overlaps?.map(\.overlap) == [2, 2] && streaming.overlapSteps == 2)
        #expect(streaming.hiddenSeconds == 0.2)
        #expect(streaming.fragments.allSatisfy { $0.fits == true })
        #expect(report.prediction?.computeUtilisation == 1)
        #expect(report.text.contains("Applied 2 steps later (200 ms)"))
        #expect(report.text.contains("east, west: tau 2 of 30, a mean is there after 1.3"))
        // Flags that change links come after the file is read.
        var slower = file
        slower.topology.setLinks(bitsPerSecond: 2_000_000)
        let other = CheckReport(slower, path: "t")
        #expect(other.streaming?.overlaps?.first?.overlap ?? 0 > 9)
        #expect(try read(Self.streaming).configuration.schedule.choosesOverlap == nil)
    }

    @Test func anOverlapIsNotChosenFromNothing() throws {
        let auto = "outer: streaming, sync_every: 30, fragments: 2, overlap: auto"
        let yaml = try Sample.twoRegions(replacing: "outer: diloco, sync_every: 30", with: auto)
        let unpaced = yaml.replacing(
            "{name: w2, batch: 2, step: 100 ms}", with: "{name: w2, batch: 2}")
        #expect(Sample.issues(unpaced).map(\.keyPath) == ["schedule.overlap"])
        let single = yaml.replacing(
            "sync_every: 30, fragments: 2", with: "sync_every: 1, fragments: 1")
        #expect(Sample.issues(single).map(\.keyPath) == ["schedule.sync_every"])
        let word = yaml.replacing("overlap: auto", with: "overlap: automatic")
        let issues = Sample.issues(word)
        #expect(issues.map(\.keyPath) == ["schedule.overlap"])
        #expect(issues.first?.expected.contains("`auto`") == true)
    }

    @Test func regionsTakeStepsInProportionToTheirSpeed() throws {
        let yaml = try Sample.twoRegions(
            replacing: "outer: diloco, sync_every: 30",
            with: "outer: diloco, sync_every: 30, local_steps: nominal"
        ).replacing("batch: 2, step: 100 ms", with: "batch: 2, step: 250 ms")
        let report = CheckReport(
            try ClusterFile.read(yaml: yaml, file: "test.yaml"), path: "test.yaml")
        #expect(report.regions.map(\.stepsPerRound) == [30, 12])
    }
}
