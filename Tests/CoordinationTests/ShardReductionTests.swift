import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Rank 0's slice of a pool collective between two replicas of two: positions 0 and 1.
@Suite struct ShardReductionTests {
    private let key = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
    private let geometry = CollectiveGeometry(
        epoch: Epoch(rawValue: 1), participants: (0..<4).map { Rank($0) },
        groups: [[Rank(0), Rank(1)], [Rank(2), Rank(3)]], elements: Fixtures.parameterCount)

    private func opened() -> ShardReduction {
        var shards = ShardReduction()
        shards.open(key, geometry: geometry, rank: Rank(0))
        return shards
    }

    private func part(
        _ handle: UInt64, group: Int, position: Int = 0, weight: UInt64 = 10, mayLeave: Bool = true
    ) -> ShardReduction.Event {
        .contribution(
            ShardReduction.Contribution(
                key: key, slice: 0, position: position, group: group,
                handle: PayloadHandle(rawValue: handle), weight: weight, mayLeave: mayLeave))
    }

    private func reduce(_ handles: [UInt64], weights: [UInt64]) -> ShardReduction.Effect {
        .reduce(
            key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 0,
            sources: zip(handles, weights).map {
                ShardReduction.Source(handle: PayloadHandle(rawValue: $0), weight: $1)
            })
    }

    private func reduced(_ mean: UInt64, position: Int = 0, epoch: UInt32 = 1)
        -> ShardReduction.Event
    {
        .reduced(
            key: key, epoch: Epoch(rawValue: epoch), slice: 0, position: position,
            mean: PayloadHandle(rawValue: mean))
    }

    @Test func sourcesAreInGroupOrderWhateverArrivesFirst() {
        var shards = opened()
        #expect(shards.handle(part(2, group: 1, weight: 20)) == [])
        #expect(shards.missingGroups(key) == [0, 1])
        #expect(
            shards.handle(part(1, group: 0, weight: 10)) == [reduce([1, 2], weights: [10, 20])])
    }

    /// A contribution may come before its owner knows what the round passes over.
    @Test func anExpertThatIsNotDueIsNotWaitedFor() {
        // A slice of 10 elements: one of nobody, 4 of expert 0, 5 of expert 1.
        let whole = CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: [Rank(0), Rank(1)],
            groups: [[Rank(0)], [Rank(1)]], elements: 20,
            experts: [ExpertPart(range: 1..<5, expert: 0), ExpertPart(range: 5..<20, expert: 1)])
        var shards = ShardReduction()
        shards.open(key, geometry: whole, rank: Rank(0))
        _ = shards.handle(part(1, group: 1))
        shards.open(key, geometry: whole.leavingOut([true, false]), rank: Rank(0))
        #expect(shards.handle(part(2, group: 0)) == [reduce([2, 1], weights: [10, 10])])
        _ = shards.handle(reduced(3))
        #expect(shards.missingGroups(key) == [0, 1])
        for (handle, group) in [(UInt64(4), 0), (5, 1)] {
            _ = shards.handle(part(handle, group: group, position: 2))
        }
        #expect(
            shards.handle(part(6, group: 0, position: 1)).contains {
                if case .violation = $0 { true } else { false }
            })
        _ = shards.handle(reduced(7, position: 2))
        #expect(!shards.isOpen(key))
        // Nothing of a slice is due: nothing is expected.
        shards.open(key, geometry: whole.leavingOut([true, true]), rank: Rank(1))
        #expect(!shards.isOpen(key))
    }

    @Test func anExpertOfOneRegionNeedsItsPartOnly() {
        // A slice of 10 elements: one of nobody, 4 of group 1's expert, 5 of everybody's.
        let geometry = CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: [Rank(0), Rank(1)],
            groups: [[Rank(0)], [Rank(1)]], elements: 20,
            experts: [ExpertPart(range: 1..<5, expert: 0), ExpertPart(range: 5..<20, expert: 1)]
        ).contributing([1, nil])
        #expect(!geometry.contributes(group: 0, slice: 0, position: 1))
        #expect(geometry.contributes(group: 1, slice: 0, position: 1))
        #expect(geometry.contributes(group: 0, slice: 0, position: 2))
        var shards = ShardReduction()
        shards.open(key, geometry: geometry, rank: Rank(0))
        #expect(
            shards.handle(part(1, group: 0, position: 1)).contains {
                if case .violation = $0 { true } else { false }
            })
        let only = ShardReduction.Source(handle: PayloadHandle(rawValue: 2), weight: 1)
        #expect(
            shards.handle(part(2, group: 1, position: 1, weight: 0)) == [
                .reduce(
                    key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 1, sources: [only])
            ])
        _ = shards.handle(reduced(3, position: 1))
        #expect(shards.missingGroups(key) == [0, 1])
        for group in 0..<2 {
            for position in [0, 2] {
                let handle = UInt64(10 + 2 * position + group)
                _ = shards.handle(part(handle, group: group, position: position))
            }
        }
        #expect(shards.missingGroups(key) == [])
        for position in [0, 2] { _ = shards.handle(reduced(30, position: position)) }
        #expect(!shards.isOpen(key))
    }

    /// An expert of one member of a region: its contribution may come before the owner knows whose it is.
    @Test func whoContributesAnExpertIsKnownWhenTheOwnPartIsUnderWay() {
        // A slice of 10 elements: one of nobody, 9 of group 1's expert.
        let unknown = CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: [Rank(0), Rank(1), Rank(2)],
            groups: [[Rank(0)], [Rank(1)], [Rank(2)]], elements: 30,
            experts: [ExpertPart(range: 1..<30, expert: 0)]
        ).awaitingContributors
        #expect(!unknown.knowsContributors)
        var shards = ShardReduction()
        #expect(shards.open(key, geometry: unknown, rank: Rank(0)) == [])
        #expect(shards.handle(part(1, group: 1, position: 1, weight: 90)) == [])
        #expect(shards.handle(part(2, group: 2, position: 1)) == [], "whose it is is not known")
        #expect(shards.missingGroups(key) == [0, 1, 2])
        // Opened again by another contribution it still waits.
        #expect(shards.open(key, geometry: unknown, rank: Rank(0)) == [])
        let known = unknown.contributing([1])
        #expect(
            shards.open(key, geometry: known, rank: Rank(0)) == [
                .release(PayloadHandle(rawValue: 2)),
                .violation(
                    key: key, group: 2, what: "contributes an expert that others compute"),
                .reduce(
                    key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 1,
                    sources: [
                        ShardReduction.Source(handle: PayloadHandle(rawValue: 1), weight: 90)
                    ]),
            ])
        #expect(shards.open(key, geometry: known, rank: Rank(0)) == [], "once")
        // Late, from who is not its holder.
        #expect(
            shards.handle(part(3, group: 0, position: 1)).contains {
                if case .violation = $0 { true } else { false }
            })
        for group in 0..<3 { _ = shards.handle(part(UInt64(10 + group), group: group)) }
        _ = shards.handle(reduced(20))
        #expect(shards.isOpen(key))
        _ = shards.handle(reduced(21, position: 1))
        #expect(!shards.isOpen(key) && shards.missingGroups(key) == [])
    }

    @Test func meanCarriesTheSumOfWeightsAndTheAndOfFlags() {
        var shards = opened()
        _ = shards.handle(part(1, group: 0, weight: 10, mayLeave: true))
        _ = shards.handle(part(2, group: 1, weight: 20, mayLeave: false))
        #expect(
            shards.handle(reduced(9)) == [
                .release(PayloadHandle(rawValue: 1)), .release(PayloadHandle(rawValue: 2)),
                .mean(
                    key: key, slice: 0, position: 0, handle: PayloadHandle(rawValue: 9), weight: 30,
                    mayLeave: false),
            ])
        #expect(shards.isOpen(key))
    }

    /// A round after the last step: there are values, and no tokens behind them.
    @Test func whereNobodyHasTrainedAllCountAlike() {
        var shards = opened()
        _ = shards.handle(part(1, group: 0, weight: 0))
        #expect(shards.handle(part(2, group: 1, weight: 0)) == [reduce([1, 2], weights: [1, 1])])
        #expect(
            shards.handle(reduced(9)).last
                == .mean(
                    key: key, slice: 0, position: 0, handle: PayloadHandle(rawValue: 9), weight: 0,
                    mayLeave: true))
        _ = shards.handle(part(3, group: 0, position: 1, weight: 0))
        #expect(
            shards.handle(part(4, group: 1, position: 1, weight: 5)).first
                == .reduce(
                    key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 1,
                    sources: [
                        .init(handle: PayloadHandle(rawValue: 3), weight: 0),
                        .init(handle: PayloadHandle(rawValue: 4), weight: 5),
                    ]))
    }

    /// Both positions have had both groups' parts and their pass.
    private func allReduced() -> ShardReduction {
        var shards = opened()
        for position in 0..<2 {
            let base = UInt64(position) * 10
            _ = shards.handle(part(base + 1, group: 0, position: position))
            _ = shards.handle(part(base + 2, group: 1, position: position))
            _ = shards.handle(reduced(base + 3, position: position))
        }
        return shards
    }

    @Test func shardClosesWhenEveryPositionIsDone() {
        #expect(!allReduced().isOpen(key))
    }

    @Test func aContributionThatComesAgainAfterThePassBeginsNothing() {
        var shards = allReduced()
        // As the worker does with every contribution that its round accepts.
        shards.open(key, geometry: geometry, rank: Rank(0))
        #expect(
            shards.handle(part(4, group: 1)) == [
                .release(PayloadHandle(rawValue: 4)),
                .violation(key: key, group: 1, what: "contributed twice"),
            ])
        #expect(!shards.isOpen(key) && shards.missingGroups(key) == [])
        // Until the round is over here; nothing is held any more by then.
        #expect(shards.count == 1)
        let nothing = shards.abandon(key)
        #expect(nothing == [] && shards.count == 0)
    }

    @Test func secondContributionForOnePlaceIsRefused() {
        var shards = opened()
        _ = shards.handle(part(1, group: 0))
        #expect(
            shards.handle(part(2, group: 0)) == [
                .release(PayloadHandle(rawValue: 2)),
                .violation(key: key, group: 0, what: "contributed twice"),
            ])
        // The first one counts.
        #expect(shards.handle(part(3, group: 1)) == [reduce([1, 3], weights: [10, 10])])
    }

    @Test func contributionOutsideTheGeometryIsRefused() {
        var shards = opened()
        let refused: [ShardReduction.Effect] = [
            .release(PayloadHandle(rawValue: 1)),
            .violation(key: key, group: 0, what: "no such chunk or group"),
        ]
        #expect(shards.handle(part(1, group: 0, position: 2)) == refused)
        var closed = ShardReduction()
        #expect(
            closed.handle(part(1, group: 0)) == [
                .release(PayloadHandle(rawValue: 1)),
                .violation(key: key, group: 0, what: "collective is not open here"),
            ])
    }

    @Test func closedSetReducesWithoutTheRest() {
        var shards = opened()
        _ = shards.handle(part(2, group: 1))
        #expect(
            shards.handle(.close(key: key, counted: [.init(group: 1, weight: 7)]))
                == [reduce([2], weights: [7])])
        #expect(shards.missingGroups(key) == [1])
    }

    @Test func nothingIsReducedBeforeTheSetIsClosed() {
        var shards = ShardReduction()
        shards.open(key, geometry: geometry, rank: Rank(0), awaitsClose: true)
        #expect(shards.handle(part(1, group: 0)) == [])
        #expect(shards.handle(part(2, group: 1)) == [])
        #expect(shards.missingGroups(key) == [])
        let counted = [
            ShardReduction.Counted(group: 1, weight: 3), .init(group: 0, weight: 5),
        ]
        #expect(
            shards.handle(.close(key: key, counted: counted))
                == [reduce([1, 2], weights: [5, 3])])
        _ = shards.handle(reduced(9))
        // The other position is complete as soon as its parts are.
        #expect(shards.missingGroups(key) == [0, 1])
    }

    @Test func passOfAnAbandonedAttemptIsDropped() {
        var shards = opened()
        _ = shards.handle(part(1, group: 0))
        _ = shards.handle(part(2, group: 1))
        #expect(
            shards.abandonAll()
                == [.release(PayloadHandle(rawValue: 1)), .release(PayloadHandle(rawValue: 2))])
        #expect(shards.count == 0)
        shards.open(key, geometry: geometry, rank: Rank(0))
        #expect(shards.handle(reduced(9)) == [.release(PayloadHandle(rawValue: 9))])
        #expect(shards.handle(reduced(8, epoch: 7)) == [.release(PayloadHandle(rawValue: 8))])
        #expect(shards.isOpen(key))
    }
}
