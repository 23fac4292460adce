import ClusterModel
import Coordination
import Testing
import WireProtocol

/// State is asked for and described within the model's size only.
@Suite struct StateBoundTests {
    private func request(_ start: UInt64, _ count: UInt32) -> Message {
        .stateRequest(StateRequest(item: .parameters, start: start, count: count))
    }

    private func reads(_ effects: [Worker.Effect]) -> Int {
        effects.count { if case .train(.readState) = $0 { true } else { false } }
    }

    @Test func stateBeyondTheModelIsNotRead() {
        var worker = LoneWorker(Fixtures.plan())
        _ = worker.greeted(by: 1)
        let whole = Fixtures.parameterCount
        let piece = UInt32(StateTransfer.pieceElements)
        let good = worker.frame(
            worker.accepted(1), request(whole - UInt64(piece), piece), sequence: 1, epoch: 1)
        #expect(reads(good) == 1)
        #expect(good.violations == [])
        let wrong: [(UInt64, UInt32)] = [
            (0, piece + 1), (whole - 1, 2), (whole + 1, 0), (.max, 1),
        ]
        for (place, (start, count)) in wrong.enumerated() {
            let effects = worker.frame(
                worker.accepted(1), request(start, count), sequence: UInt64(place) + 2, epoch: 1)
            #expect(reads(effects) == 0)
            #expect(effects.violations.count == 1, "\(start), \(count)")
        }
    }

    @Test(arguments: [
        (UInt64(0), 0), (Fixtures.parameterCount, 0), (Fixtures.parameterCount + 1, 1),
    ])
    func stateOfAnotherSizeIsRefused(total: UInt64, violations: Int) {
        var plan = Fixtures.plan(seats: [0, 1])
        plan.members[0].state = .needsState
        plan.members[0].stateSource = Rank(1)
        var worker = LoneWorker(plan)
        let asked = worker.open(1)
        let requests = asked.compactMap { effect -> StateRequest? in
            if case .transmit(_, _, _, .stateRequest(let request), _) = effect {
                request
            } else {
                nil
            }
        }
        #expect(!requests.isEmpty)
        let item = requests.first?.item ?? .parameters
        let description = StateChunk(
            item: item, start: 0, count: 0, total: total, round: 1, step: 2, digest: 7)
        let effects = worker.frame(
            worker.dialled(1), .stateChunk(description), sequence: 1, epoch: 1)
        #expect(effects.violations.count == violations)
    }
}
