import ClusterFile
import ClusterModel
import Foundation
import Testing

/// The files in `Cluster/` say what the documentation says of them.
struct ShippedFileTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Cluster")

    private func load(_ name: String) throws -> ClusterFile {
        try ClusterFile.load(path: Self.folder.appendingPathComponent("\(name).yaml").path)
    }

    @Test func shanghaiJinanIsTwoUnlikeRegionsOverOneLongLink() throws {
        let file = try load("shanghai-jinan")
        #expect(file.topology.regions.map(\.name) == ["shanghai", "jinan"])
        #expect(file.topology.regions.map(\.workers.count) == [2, 2])
        #expect(file.topology.coordinatorRegion == RegionID(0))
        let link = try #require(file.topology.link(between: RegionID(1), and: RegionID(0)))
        #expect(link.distanceKilometres == 1500)
        #expect(link.oneWayDelay == .milliseconds(15))
        #expect(link.rate > 0)
        #expect(file.configuration.schedule.inner == .everyStep)
        #expect(file.configuration.schedule.outer == .diloco)
        #expect(file.configuration.model == .standard)
        #expect(file.configuration.wire.betweenRegions == .int8)
        #expect(file.configuration.data == .gcide)
    }

    @Test func everyStepIsEveryStepEverywhereAndExact() throws {
        let file = try load("every-step")
        #expect(file.topology.seats.count == 4)
        #expect(file.configuration.schedule.inner == .everyStep)
        #expect(file.configuration.schedule.outer == .everyStep)
        #expect(file.configuration.schedule.syncEvery == 1)
        #expect(file.configuration.wire.insideRegion == .fp32)
        #expect(file.configuration.wire.betweenRegions == .fp32)
    }

    @Test func expertsHaveTheActiveWidthOfTheDenseModel() throws {
        let (dense, experts) = (try load("shanghai-jinan"), try load("moe"))
        #expect(experts.topology == dense.topology)
        let mixture = try #require(experts.configuration.model.experts)
        #expect(mixture.topK * mixture.width == 4 * experts.configuration.model.width)
        #expect(mixture.balance == .bias && mixture.gate == .softmax && mixture.capacity == 0)
    }

    @Test func spreadExpertsAreThoseOfTheOtherFile() throws {
        let (whole, spread) = (try load("moe"), try load("moe-spread"))
        var experts = try #require(spread.configuration.model.experts)
        #expect(experts.spread == .region && experts.tokenWire == .bf16)
        #expect(experts.placeEvery > 0 && spread.configuration.schedule.inner == .everyStep)
        #expect(spread.topology.regions.allSatisfy { $0.workers.count > 1 })
        let notes = CheckReport(spread, path: "t").notes
        for region in spread.topology.regions {
            let workers = "spread over the \(region.workers.count) workers of \(region.name)"
            #expect(notes.contains { $0.contains(workers) })
        }
        (experts.spread, experts.tokenWire, experts.placeEvery) = (.none, .fp32, 0)
        experts.balance = .bias
        #expect(experts == whole.configuration.model.experts)
    }

    @Test func syntheticHas256MiBOfParametersInEightFragments() throws {
        let file = try load("synthetic")
        let configuration = file.configuration
        #expect(4 * configuration.model.parameterCount == 256 << 20)
        #expect(configuration.model == .synthetic(parameters: 1 << 26))
        #expect(configuration.schedule.outer == .streaming && configuration.schedule.fragments == 8)
        #expect(file.topology.links.map(\.rate) == [1_000_000_000])
        #expect(CheckReport(file, path: "t").text.contains("synthetic: nothing is learnt"))
    }

    @Test func everyFileIsRead() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            .filter { $0.hasSuffix(".yaml") }
        #expect(names.count >= 11)
        for name in names { _ = try load(String(name.dropLast(5))) }
    }

    @Test func theReferenceHasTheWholeBatchOfThePools() throws {
        let files = try ["one-worker", "every-step", "shanghai-jinan"].map(load)
        let batches = files.map { $0.topology.seats.reduce(0) { $0 + $1.worker.microBatch } }
        #expect(files[0].topology.seats.count == 1)
        #expect(Set(batches).count == 1)
        #expect(Set(files.map(\.configuration.steps)).count == 1)
        #expect(Set(files.map(\.configuration.model.parameterCount)) == [478_976])
    }
}
