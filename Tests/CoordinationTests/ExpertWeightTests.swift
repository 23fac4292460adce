import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Experts count by the tokens they saw: where chunks end, and what they weigh.
@Suite struct ExpertWeightTests {
    private func geometry(
        _ experts: [ExpertPart], elements: UInt64 = 1_000_003, chunk: Int = 65_536
    )
        -> CollectiveGeometry
    {
        CollectiveGeometry(
            epoch: Epoch(rawValue: 1), participants: (0..<4).map { Rank($0) },
            groups: [[Rank(0), Rank(1)], [Rank(2), Rank(3)]], elements: elements,
            chunkElements: chunk, experts: experts)
    }

    private func parts(_ count: Int, each: UInt64, from start: UInt64) -> [ExpertPart] {
        (0..<count).map {
            let first = start + UInt64($0) * each
            return ExpertPart(range: first..<first + each, expert: $0)
        }
    }

    @Test(arguments: [1, 10, 65_536, 65_920, 199_000] as [UInt64])
    func chunksHoldOneExpertAndCoverEverything(each: UInt64) {
        let experts = parts(5, each: each, from: 777)
        let geometry = geometry(experts)
        var next: UInt64 = 0
        var held = [UInt64](repeating: 0, count: 5)
        for slice in 0..<geometry.sliceCount {
            for position in 0..<geometry.positionCount(ofSlice: slice) {
                let range = geometry.range(ofSlice: slice, position: position)
                #expect(range.lowerBound == next && !range.isEmpty)
                #expect(range.count <= CollectiveGeometry.chunkElements)
                next = range.upperBound
                let expert = geometry.expert(ofSlice: slice, position: position)
                if let expert {
                    #expect(experts[expert].range.contains(range.lowerBound))
                    #expect(range.upperBound <= experts[expert].range.upperBound)
                    held[expert] += UInt64(range.count)
                } else {
                    #expect(experts.allSatisfy { !$0.range.overlaps(range) })
                }
            }
            #expect(next == geometry.range(ofSlice: slice).upperBound)
        }
        #expect(next == 1_000_003 && held.allSatisfy { $0 == each })
    }

    @Test func cutsByHand() {
        // Slices of 10; experts of 4 at 3, 7 and 11.
        let geometry = geometry(parts(3, each: 4, from: 3), elements: 40, chunk: 3)
        let found = (0..<4).map { slice in
            (0..<geometry.positionCount(ofSlice: slice)).map {
                (
                    geometry.range(ofSlice: slice, position: $0),
                    geometry.expert(ofSlice: slice, position: $0)
                )
            }
        }
        #expect(found[0].map(\.0) == [0..<3, 3..<6, 6..<7, 7..<10])
        #expect(found[0].map(\.1) == [nil, 0, 0, 1])
        #expect(found[1].map(\.0) == [10..<11, 11..<14, 14..<15, 15..<18, 18..<20])
        #expect(found[1].map(\.1) == [1, 2, 2, nil, nil])
        #expect(geometry.totalPositions == 4 + 5 + 4 + 4)
    }

    /// East-1 in two regions of two, each 4 elements of 16; experts 0, 1, 2 at 4, 8 and 12, all of one
    /// fragment.
    private func started(
        _ outer: RunConfiguration.Schedule.Outer = .diloco, activateAtRound: UInt32 = 0
    ) -> WorkerRound {
        let configuration = Fixtures.configuration(outer: outer, syncEvery: 2)
        var plan = Fixtures.plan(elements: 16, configuration: configuration)
        plan.experts = [
            ExpertBlock(start: 4, each: 4, count: 2), ExpertBlock(start: 12, each: 4, count: 1),
        ]
        var round = WorkerRound(
            worker: WorkerID(0), region: RegionID(0), configuration: configuration)
        _ = round.handle(.plan(plan, epoch: Epoch(rawValue: 1)), at: .zero)
        _ = round.handle(.go(planVersion: 1, verdicts: []), at: .zero)
        return round
    }

    /// What a worker's chunks of slices 0...3 weigh, as it would contribute them.
    private func weights(_ round: inout WorkerRound, _ number: UInt32) -> [UInt64] {
        (0..<4).flatMap { slice in
            round.handle(
                .encoded(
                    key: .outer(fragment: FragmentID(0), round: number), epoch: Epoch(rawValue: 1),
                    slice: slice, position: 0,
                    payload: Fixtures.payload(
                        1_000 * UInt64(number) + UInt64(slice), elements: 4)), at: .zero
            ).compactMap {
                if case .contribute(_, _, _, _, _, _, let weight, _) = $0 { weight } else { nil }
            }
        }
    }

    @Test func chunksWeighWhatTheirExpertSaw() {
        var round = started()
        _ = round.stepOfTwo(1, experts: [0.5, 0, 0.25])
        _ = round.stepOfTwo(2, experts: [0.125, 0, 0.5])
        // Two steps of 100 tokens; 50 + 12.5 (rounded 13), none (1), 25 + 50.
        #expect(weights(&round, 1) == [200, 63, 1, 75])
    }

    @Test func theNextRoundCountsFromItsOwnStart() {
        var round = started()
        _ = round.stepOfTwo(1, experts: [0.5, 0, 0.25])
        _ = round.stepOfTwo(2, experts: [0.5, 0, 0.5])
        let key = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
        for slice in 0..<4 {
            _ = round.handle(
                .mean(
                    WorkerRound.Mean(
                        key: key, slice: slice, position: 0,
                        payload: Fixtures.payload(500 + UInt64(slice), elements: 4),
                        weight: slice == 0 ? 400 : 7, mayLeave: true)), at: .zero)
        }
        let effects = round.handle(
            .absorbed(key: key, target: .outerStep, digest: 9), at: .zero)
        // The tokens of a round are those of the chunks that all tokens count for.
        #expect(
            effects.contains {
                if case .report(let report) = $0 { report.tokens == 400 } else { false }
            })
        let pulled = round.heldMean(key: key, slice: 2, position: 0)
        #expect(pulled?.weight == 7)
        _ = round.handle(.committed(key: key), at: .zero)
        _ = round.stepOfTwo(3, experts: [0, 0.75, 0])
        _ = round.stepOfTwo(4, experts: [0, 0.25, 0])
        #expect(weights(&round, 2) == [200, 1, 100, 1])
    }

    @Test func withoutCountsEverythingWeighsAlike() {
        var round = started()
        _ = round.stepOfTwo(1, experts: [])
        _ = round.stepOfTwo(2, experts: [])
        #expect(weights(&round, 1) == [200, 200, 200, 200])
    }

    @Test func sharesOfOtherExpertsAreAViolation() {
        var round = started()
        let effects = round.stepOfTwo(1, experts: [0.5])
        #expect(effects.contains(.violation("shares of 1 experts; the plan has 3")))
        _ = round.stepOfTwo(2, experts: [.nan, 2, 0.5])
        #expect(weights(&round, 1) == [200, 1, 100, 50])
    }
}
