import ClusterModel
import Coordination
import Testing
import WireProtocol

@Suite struct CollectiveGeometryTests {
    private func twoRegionsOfTwo(elements: UInt64) -> CollectiveGeometry {
        CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: (0..<4).map { Rank($0) },
            groups: [[Rank(0), Rank(1)], [Rank(2), Rank(3)]], elements: elements)
    }

    @Test func slicesCoverEveryElementOnce() {
        for elements: UInt64 in [4, 5, 65_536, 478_976, 1_000_003] {
            let geometry = twoRegionsOfTwo(elements: elements)
            var next: UInt64 = 0
            for slice in 0..<geometry.sliceCount {
                for position in 0..<geometry.positionCount(ofSlice: slice) {
                    let range = geometry.range(ofSlice: slice, position: position)
                    #expect(range.lowerBound == next)
                    #expect(range.count <= CollectiveGeometry.chunkElements && !range.isEmpty)
                    next = range.upperBound
                }
            }
            #expect(next == elements)
        }
    }

    @Test func chunksInsideARegionFillAFrameWhateverTheirEncoding() throws {
        var schedule = Fixtures.configuration().schedule
        schedule.outer = .diloco
        for transform in TransformID.allCases {
            var plan = Fixtures.plan(elements: 2_000_000)
            plan.regionTransform = transform
            let active = try #require(
                ActivePlan(
                    epoch: Epoch(rawValue: 1), plan: plan, schedule: schedule,
                    worker: WorkerID(0)))
            let region = active.geometry(of: .inner(region: RegionID(0), step: 1))
            let chunk = region.range(ofSlice: 0, position: 0).count
            #expect(chunk == CollectiveGeometry.chunkElements(of: transform))
            #expect(
                Double(chunk) * transform.storedBytesPerValue
                    <= Double(ProtocolLimits.dataPayloadBytes))
            #expect(chunk <= ProtocolLimits.chunkElementsMost)
            let first = plan.fragments[0].id
            let pool = active.geometry(of: .outer(fragment: first, round: 1))
            #expect(pool.range(ofSlice: 0, position: 0).count <= CollectiveGeometry.chunkElements)
            // A simulator's whole slices, or a test's small chunks, stay what they are.
            let whole = try #require(
                ActivePlan(
                    epoch: Epoch(rawValue: 1), plan: plan, schedule: schedule,
                    worker: WorkerID(0), chunkElements: CollectiveGeometry.wholeSlice))
            let geometry = whole.geometry(of: .inner(region: RegionID(0), step: 1))
            #expect(geometry.totalPositions == geometry.sliceCount)
        }
    }

    @Test func partsOfOneCollectiveHaveItsChunks() throws {
        var schedule = Fixtures.configuration().schedule
        schedule.inner = .everyStep
        schedule.outer = .everyStep
        var plan = Fixtures.plan(elements: 2_000_000)
        plan.regionTransform = .int8
        let active = try #require(
            ActivePlan(
                epoch: Epoch(rawValue: 1), plan: plan, schedule: schedule, worker: WorkerID(0)))
        let parts = active.geometry(of: .inner(region: RegionID(0), step: 1))
        let pool = active.geometry(of: .outer(fragment: FragmentID(0), round: 1))
        #expect(parts.totalPositions == pool.totalPositions)
        #expect(parts.range(ofSlice: 0, position: 0).count == CollectiveGeometry.chunkElements)
    }

    @Test func everyGroupSendsEverySliceExactlyOnce() {
        let geometry = twoRegionsOfTwo(elements: 1_000_000)
        for slice in 0..<geometry.sliceCount {
            let senders = geometry.participants.filter {
                geometry.slicesSent(by: $0).contains(slice)
            }
            #expect(senders.count == geometry.groups.count)
        }
    }

    @Test func meansReachEveryMemberOnceAndCrossToEachRegionOnce() {
        let geometry = twoRegionsOfTwo(elements: 1_000_000)
        for slice in 0..<geometry.sliceCount {
            let owner = geometry.owner(ofSlice: slice)
            var reached = [owner]
            var crossings = 0
            for receiver in geometry.meanReceivers(slice: slice) {
                reached.append(receiver)
                if geometry.group(of: receiver) != geometry.group(of: owner) { crossings += 1 }
                reached += geometry.forwards(slice: slice, from: receiver)
            }
            #expect(reached.sorted() == geometry.participants)
            #expect(crossings == 1)
        }
    }

    @Test func weightsMoveTheBordersAndNothingIsLost() {
        let geometry = CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: (0..<4).map { Rank($0) },
            groups: [[Rank(0), Rank(1)], [Rank(2)], [Rank(3)]], elements: 1_000_003,
            weights: [3, 3, 2, 0])
        let ranges = (0..<4).map { geometry.range(ofSlice: $0) }
        #expect(ranges.map(\.lowerBound) == [0, 375_001, 750_002, 1_000_003])
        #expect(ranges[3].isEmpty && geometry.positionCount(ofSlice: 3) == 0)
        #expect(ranges[2].upperBound == 1_000_003)
    }

    @Test func equalWeightsAreNoWeights() {
        let plain = twoRegionsOfTwo(elements: 1_000_003)
        for weight: UInt32 in [0, 1, 7, .max] {
            let weighted = CollectiveGeometry(
                epoch: plain.epoch, participants: plain.participants, groups: plain.groups,
                elements: plain.elements, weights: [UInt32](repeating: weight, count: 4))
            #expect(weighted == plain)
        }
    }
}
