import ClusterFile
import ClusterModel
import Testing

/// What a sound file is read as.
struct ReadingTests {
    private func link(_ fields: String) throws -> Topology.Link {
        let yaml = try Sample.twoRegions(
            replacing: "distance: 1500 km, one_way: 15 ms, rate: 20 Mbit/s", with: fields)
        let file = try ClusterFile.read(yaml: yaml, file: "test.yaml")
        return try #require(file.topology.links.first)
    }

    @Test func seatsAreInFileOrder() throws {
        let file = try ClusterFile.read(yaml: Sample.twoRegions, file: "test.yaml")
        let seats = file.topology.seats
        #expect(seats.map(\.worker.name) == ["e1", "e2", "w1", "w2"])
        #expect(seats.map(\.region.index) == [0, 0, 1, 1])
        #expect(seats.map(\.worker.microBatch) == [3, 1, 2, 2])
        #expect(seats.allSatisfy { $0.worker.nominalStep == .milliseconds(100) })
    }

    @Test(arguments: [
        ("distance: 1500 km, rate: 1 Gbit/s", Int64(7_500_000)),
        ("distance: 100 km, one_way: 30 ms, rate: 1 Gbit/s", 30_000_000),
        ("rtt: 30 ms, rate: 1 Gbit/s", 15_000_000),
        ("one_way: 1.5 ms, rate: 1 Gbit/s", 1_500_000),
        ("one_way: 250us, rate: 1 Gbit/s", 250_000),
    ])
    func delayComesFromDistanceUnlessGiven(fields: String, nanoseconds: Int64) throws {
        #expect(try link(fields).oneWayDelay == Interval(nanoseconds: nanoseconds))
    }

    @Test(arguments: [
        ("200 Mbit/s", UInt64(200_000_000)), ("1.5 Gbit/s", 1_500_000_000),
        ("64kbit/s", 64_000), ("unlimited", 0),
    ])
    func rateIsReadWithItsUnit(text: String, rate: UInt64) throws {
        #expect(try link("one_way: 15 ms, rate: \(text)").rate == rate)
    }

    @Test func queueDefaultsToOneBandwidthDelayProduct() throws {
        #expect(try link("one_way: 15 ms, rate: 200 Mbit/s").queueBytes == 750_000)
        #expect(try link("one_way: 15 ms, rate: 1 Mbit/s").queueBytes == 65_536)
        #expect(try link("one_way: 1 ms, rate: 1 Mbit/s, queue: 256 KiB").queueBytes == 262_144)
    }

    @Test func outerStepDefaultsAreThoseOfTheSchedule() throws {
        let diloco = try ClusterFile.read(yaml: Sample.twoRegions, file: "test.yaml")
        #expect(diloco.configuration.schedule.outerLearningRate == 0.7)
        #expect(diloco.configuration.schedule.outerMomentum == 0.9)
        let mean = try ClusterFile.read(
            yaml: Sample.twoRegions(replacing: "diloco", with: "local-sgd"), file: "test.yaml")
        #expect(mean.configuration.schedule.outerLearningRate == 1)
        #expect(mean.configuration.schedule.outerMomentum == 0)
        let step = try ClusterFile.read(
            yaml: Sample.twoRegions(replacing: "diloco, sync_every: 30", with: "every-step"),
            file: "test.yaml")
        #expect(step.configuration.schedule.syncEvery == 1)
    }

    @Test func oneWorkerNeedsNoScheduleNoLinksAndNoCoordinatorRegion() throws {
        let file = try ClusterFile.read(yaml: Sample.oneWorker, file: "test.yaml")
        #expect(file.configuration.schedule.outer == .everyStep)
        #expect(file.topology.coordinatorRegion == RegionID(0))
        #expect(file.topology.seats[0].worker.nominalStep == .zero)
        #expect(!file.seedIsGiven)
    }

    @Test func warmUpDefaultsToATenthOfAShortRun() throws {
        let file = try ClusterFile.read(yaml: Sample.oneWorker, file: "test.yaml")
        #expect(file.configuration.training.warmupSteps == 6)
    }

    @Test func regionsWithoutLinksAreARealNetwork() throws {
        let yaml = try Sample.twoRegions(
            replacing: """
                links:
                  - {between: [east, west], distance: 1500 km, one_way: 15 ms, rate: 20 Mbit/s}

                """, with: "")
        #expect(try ClusterFile.read(yaml: yaml, file: "test.yaml").topology.links.isEmpty)
    }
}
