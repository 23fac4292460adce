import ClusterModel
import Coordination
import NodeRuntime
import Testing
import Training
import WireProtocol

/// A gradient of two slices, two chunks each.
private struct TwoSlices {
    static let chunk = 65_536
    static let count = 4 * chunk
    let key: CollectiveKey
    var transform = TransformID.fp32

    init(step: UInt32 = 1) { key = .inner(region: RegionID(0), step: step) }

    var encoding: TrainerOrder.Encoding {
        TrainerOrder.Encoding(
            key: key, epoch: Epoch(rawValue: 1), source: .gradient, transform: transform,
            chunks: (0..<4).map { index in
                TrainerOrder.Chunk(slice: index % 2, position: index / 2, range: Self.range(index))
            }, fragment: [ElementRange(start: 0, count: UInt64(Self.count))])
    }

    /// Chunks leave position by position; slice 1 begins at the third chunk.
    static func range(_ index: Int) -> Range<UInt64> {
        let start = UInt64((index % 2 * 2 + index / 2) * chunk)
        return start..<start + UInt64(chunk)
    }

    static func floats(_ value: (Int) -> Float) -> SharedFloats {
        let floats = SharedFloats(count: count)
        floats.withMutableSpan(0..<count) { span in
            for index in 0..<count { span[index] = value(index) }
        }
        return floats
    }
}

@Suite("Contributions and means of a gradient") struct GradientExchangeTests {
    @Test("the own slice is lent, others are encoded while buffers last")
    func contributions() throws {
        let pool = FramePool()
        var contributions = GradientContributions(pool)
        let slices = TwoSlices()
        let early = contributions.begin(slices.encoding, ownSlices: [0])
        #expect(!early, "nothing is lent yet")
        contributions.gradient = TwoSlices.floats { Float($0) }
        let begins = contributions.begin(slices.encoding, ownSlices: [0])
        try #require(begins)
        var given: [PayloadBytes] = []
        while let (_, chunk, bytes) = try contributions.next() {
            let first = Float(chunk.range.lowerBound)
            let copy = bytes.copiedBytes
            #expect(copy.count == 4 * TwoSlices.chunk && bytes.stage == .stored)
            let bits = copy[..<4].enumerated().reduce(UInt32(0)) {
                $0 | UInt32($1.element) << (8 * UInt32($1.offset))
            }
            #expect(Float(bitPattern: bits) == first)
            given.append(bytes)
        }
        #expect(given.count == 4 && pool.counts.taken == 2, "two chunks of the own slice are lent")
        #expect(!contributions.isReady)
        withExtendedLifetime(given) {}
    }

    @Test("a contributor stops at the limit and goes on when a buffer is back")
    func limit() throws {
        let pool = FramePool()
        var held = (0..<FramePool.regionContributionLimit).map { _ in pool.takeForContribution() }
        var contributions = GradientContributions(pool)
        contributions.gradient = TwoSlices.floats { _ in 1 }
        let begins = contributions.begin(TwoSlices().encoding, ownSlices: [])
        let none = try contributions.next()
        #expect(begins && none == nil && !contributions.isReady)
        held.removeLast()
        #expect(contributions.isReady)
        let next = try contributions.next()
        #expect(next != nil && !contributions.isReady)
        withExtendedLifetime((held, next)) {}
    }

    @Test("what another epoch, scope or schedule needs stays with the trainer")
    func trainersShare() {
        var contributions = GradientContributions(FramePool())
        contributions.gradient = TwoSlices.floats { _ in 1 }
        var encoding = TwoSlices().encoding
        encoding.key = .outer(fragment: FragmentID(0), round: 1)
        let pooled = contributions.begin(encoding, ownSlices: [0])
        encoding = TwoSlices().encoding
        encoding.source = .outerGradient
        let outer = contributions.begin(encoding, ownSlices: [0])
        #expect(!pooled && !outer)
    }

    @Test("a fragment that leaves or is absorbed meanwhile changes nothing")
    func fragmentMeanwhile() throws {
        var contributions = GradientContributions(FramePool())
        var places = MeanPlaces(parameterCount: TwoSlices.count)
        contributions.gradient = TwoSlices.floats { _ in 1 }
        let slices = TwoSlices()
        places.begin(slices.encoding)
        let begins = contributions.begin(slices.encoding, ownSlices: [])
        let first = try contributions.next()
        #expect(begins && first != nil)
        var fragment = slices.encoding
        fragment.key = .outer(fragment: FragmentID(0), round: 1)
        fragment.source = .keptOuterGradient
        places.begin(fragment)
        let takes = contributions.begin(fragment, ownSlices: [])
        contributions.end(fragment.key)
        let outer = places.finish(fragment.key)
        #expect(!takes && outer == nil && contributions.isReady)
        contributions.end(slices.key)
        let place = places.finish(slices.key)
        #expect(place != nil && !contributions.isReady)
    }

    @Test("a mean is decoded where it belongs and served from there, its buffer goes back")
    func means() throws {
        let pool = FramePool()
        var places = MeanPlaces(parameterCount: TwoSlices.count)
        let slices = TwoSlices()
        places.begin(slices.encoding)
        let original = TwoSlices.floats { Float($0 % 7) }
        var contributions = GradientContributions(pool)
        contributions.gradient = original
        let begins = contributions.begin(slices.encoding, ownSlices: [])
        try #require(begins)
        var settled: [PayloadBytes] = []
        while let (_, chunk, bytes) = try contributions.next() {
            let first = places.place(bytes, of: slices.key, elements: chunk.range)
            let placed = try #require(first)
            #expect(placed.copiedBytes == bytes.copiedBytes)
            let second = places.place(placed, of: slices.key, elements: chunk.range)
            #expect(second == nil, "once")
            settled.append(placed)
        }
        let finished = places.finish(slices.key)
        let place = try #require(finished)
        let again = places.finish(slices.key)
        #expect(again == nil)
        place.withSpan(0..<TwoSlices.count) { mean in
            #expect(mean.indices.allSatisfy { mean[$0] == Float($0 % 7) })
        }
        #expect(place !== original, "who begins again finds its contribution")
        withExtendedLifetime(settled) {}
    }

    @Test("the last mean stands until the one after the next")
    func turns() throws {
        var places = MeanPlaces(parameterCount: TwoSlices.count)
        var seen: [SharedFloats] = []
        for step in 1...4 {
            let slices = TwoSlices(step: UInt32(step))
            places.begin(slices.encoding)
            places.begin(slices.encoding)
            let finished = places.finish(slices.key)
            seen.append(try #require(finished))
        }
        #expect(seen[0] !== seen[1] && seen[0] === seen[2] && seen[1] === seen[3])
    }

    @Test("a mean of part of the gradient has no place")
    func part() {
        var places = MeanPlaces(parameterCount: TwoSlices.count + 1)
        places.begin(TwoSlices().encoding)
        let place = places.finish(TwoSlices().key)
        #expect(place == nil)
    }
}
