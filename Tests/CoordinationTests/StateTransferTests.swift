import ClusterModel
import Coordination
import Testing
import WireProtocol

/// Who is asked for which piece of a state.
@Suite struct StateTransferTests {
    private let total: UInt64 = 6 * StateTransfer.pieceElements + 5

    private func transfer(_ sources: Int, ahead: Int = 2) -> StateTransfer {
        StateTransfer(
            reference: WorkerID(0),
            sources: (0..<sources).map { StateTransfer.Source(WorkerID($0), ahead: ahead) })
    }

    private func description(
        _ item: StateItem, digest: UInt64 = 7, round: UInt32 = 3
    ) -> StateChunk {
        StateChunk(
            item: item, start: 0, count: 0, total: item == .secondMoment ? 0 : total, round: round,
            step: 9, digest: digest)
    }

    /// The macro takes no call that changes something.
    private func check(_ expected: Bool, _ result: Bool) { #expect(result == expected) }

    private func describeAll(
        _ transfer: inout StateTransfer, by source: Int, digest: UInt64 = 7
    ) {
        for item in StateTransfer.items {
            let described = description(item, digest: digest)
            check(true, transfer.describe(described, by: WorkerID(source), at: .zero))
        }
    }

    private func answer(_ request: StateRequest, digest: UInt64 = 7) -> StateChunk {
        StateChunk(
            item: request.item, start: request.start, count: request.count, total: total, round: 3,
            step: 9, digest: digest)
    }

    /// Answers everything that is asked for until nothing is; requests by source.
    private func finish(_ transfer: inout StateTransfer) -> [WorkerID: [StateRequest]] {
        var asked: [WorkerID: [StateRequest]] = [:]
        var waiting = transfer.requests()
        while !waiting.isEmpty {
            let (source, request) = waiting.removeFirst()
            asked[source, default: []].append(request)
            check(true, transfer.take(answer(request), from: source))
            waiting += transfer.requests()
        }
        return asked
    }

    @Test func nothingIsAskedForBeforeTheReferenceHasSpoken() {
        var transfer = transfer(2)
        let first = transfer.greet(WorkerID(1))
        #expect(first.map(\.count) == [0, 0, 0, 0, 0, 0])
        let second = transfer.greet(WorkerID(1))
        #expect(second == [])
        describeAll(&transfer, by: 1)
        let none = transfer.requests()
        #expect(none.isEmpty)
        #expect(!transfer.isComplete)
        describeAll(&transfer, by: 0)
        let asked = transfer.requests()
        #expect(asked.map(\.to) == [0, 1, 0, 1].map { WorkerID($0) })
    }

    @Test func everyPieceIsFetchedOnceFromHoldersOfTheSame() {
        var transfer = transfer(3)
        for source in 0..<3 { describeAll(&transfer, by: source) }
        let asked = finish(&transfer)
        #expect(transfer.isComplete)
        #expect(asked.values.reduce(0) { $0 + $1.count } == 4 * 7)
        #expect(Set(asked.values.flatMap { $0 }).count == 4 * 7)
        #expect(asked.values.allSatisfy { $0.count >= 4 * 7 / 3 - 2 })
        #expect(transfer.account.reduce(0) { $0 + $1.bytes } == 4 * 4 * total)
        let handover = transfer.handover(planVersion: 5)
        #expect(handover?.items.map(\.item) == Array(StateTransfer.items[1...4]))
        #expect(handover?.step == 9)
        #expect(handover?.round == 3)
    }

    @Test func whoDescribesAnotherItemIsNoSourceOfIt() {
        var transfer = transfer(2)
        describeAll(&transfer, by: 0)
        describeAll(&transfer, by: 1)
        // Parameters and outer state are everybody's, moments only those of a replica.
        let other = description(.firstMoment, digest: 8)
        check(true, transfer.describe(other, by: WorkerID(1), at: .zero))
        let asked = finish(&transfer)
        #expect(asked[WorkerID(1)]?.contains { $0.item == .firstMoment } == false)
        #expect(asked[WorkerID(1)]?.isEmpty == false)
        #expect(transfer.isComplete)
    }

    @Test func piecesOfTheSameItemsSurviveAChangeOfPlan() {
        var transfer = transfer(2)
        describeAll(&transfer, by: 0)
        describeAll(&transfer, by: 1)
        let first = transfer.requests()
        check(true, transfer.take(answer(first[0].1), from: first[0].to))
        transfer.restart(
            reference: WorkerID(1), sources: [StateTransfer.Source(WorkerID(1), ahead: 4)])
        #expect(!transfer.isComplete)
        // What the dead source still had to send is asked for again.
        check(false, transfer.take(answer(first[2].1), from: first[2].to))
        describeAll(&transfer, by: 1)
        #expect(transfer.resumedBytes == 4 * StateTransfer.pieceElements)
        let asked = finish(&transfer)
        #expect(asked[WorkerID(1)]?.count == 4 * 7 - 1)
        #expect(asked[WorkerID(1)]?.contains(first[0].1) == false)
        #expect(transfer.account.map(\.worker) == [WorkerID(0), WorkerID(1)])
    }

    @Test func piecesOfAnotherRoundDoNot() {
        var transfer = transfer(1)
        describeAll(&transfer, by: 0)
        _ = finish(&transfer)
        transfer.restart(
            reference: WorkerID(0), sources: [StateTransfer.Source(WorkerID(0), ahead: 4)])
        describeAll(&transfer, by: 0)
        #expect(transfer.isComplete)
        transfer.restart(
            reference: WorkerID(0), sources: [StateTransfer.Source(WorkerID(0), ahead: 4)])
        for item in StateTransfer.items {
            check(true, transfer.describe(description(item, round: 4), by: WorkerID(0), at: .zero))
        }
        #expect(!transfer.isComplete)
        let asked = transfer.requests()
        #expect(asked.count == 4)
    }

    /// What another replica has trained and not contributed is its own.
    @Test func ofAnotherReplicaLiveParametersAreLeftOut() {
        var transfer = StateTransfer(
            reference: WorkerID(0), sources: [StateTransfer.Source(WorkerID(0), ahead: 4)],
            beginsFromOuterCopy: true)
        describeAll(&transfer, by: 0)
        let asked = finish(&transfer)
        #expect(transfer.isComplete)
        #expect(asked[WorkerID(0)]?.count == 3 * 7)
        #expect(asked[WorkerID(0)]?.contains { $0.item == .parameters } == false)
        let handover = transfer.handover(planVersion: 5)
        #expect(handover?.beginsFromOuterCopy == true)
        #expect(handover?.items.map(\.item) == [.outerCopy, .outerMomentum, .firstMoment])
        // The next plan names a member of its own replica: now they are wanted.
        transfer.restart(
            reference: WorkerID(0), sources: [StateTransfer.Source(WorkerID(0), ahead: 4)])
        describeAll(&transfer, by: 0)
        #expect(!transfer.isComplete)
        let more = finish(&transfer)
        #expect(more[WorkerID(0)]?.map(\.item) == Array(repeating: .parameters, count: 7))
        #expect(transfer.handover(planVersion: 6)?.items.first?.item == .parameters)
    }

    @Test func parametersThatTheOuterCopyHasReplacedAreFetchedAgain() {
        var transfer = transfer(1)
        describeAll(&transfer, by: 0)
        _ = finish(&transfer)
        let source = [StateTransfer.Source(WorkerID(0), ahead: 4)]
        transfer.restart(reference: WorkerID(0), sources: source, beginsFromOuterCopy: true)
        describeAll(&transfer, by: 0)
        #expect(transfer.isComplete)
        transfer.restart(reference: WorkerID(0), sources: source)
        describeAll(&transfer, by: 0)
        let asked = finish(&transfer)
        #expect(asked[WorkerID(0)]?.map(\.item) == Array(repeating: .parameters, count: 7))
    }

    @Test func aPieceThatWasNotAskedForIsRefused() {
        var transfer = transfer(2)
        describeAll(&transfer, by: 0)
        let requests = transfer.requests()
        var piece = answer(requests[0].1)
        check(false, transfer.take(piece, from: WorkerID(1)))
        piece.digest = 8
        check(false, transfer.take(piece, from: WorkerID(0)))
        piece = answer(requests[0].1)
        piece.count -= 1
        check(false, transfer.take(piece, from: WorkerID(0)))
        check(true, transfer.take(answer(requests[0].1), from: WorkerID(0)))
        check(false, transfer.take(answer(requests[0].1), from: WorkerID(0)))
        check(false, transfer.describe(description(.index), by: WorkerID(9), at: .zero))
    }
}
