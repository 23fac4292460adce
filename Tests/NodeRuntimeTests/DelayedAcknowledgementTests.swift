import ClusterModel
import Coordination
import NodeRuntime
import Testing
import WireProtocol

@Suite("Acknowledgements on their way out") struct DelayedAcknowledgementTests {
    private let delay = DelayedAcknowledgements.delay.nanoseconds

    private func lane(_ peer: UInt32) -> LaneID {
        LaneID(peer: WorkerID(rawValue: peer), role: .acceptor)
    }

    private func acknowledge(_ sequence: UInt64) -> Message {
        .acknowledge(Acknowledge(received: sequence, grantedTo: 0))
    }

    @Test("small ones wait, and the last of a lane stands for all")
    func smallOnesWait() {
        var waiting = DelayedAcknowledgements()
        #expect(waiting.due == nil)
        for sequence in 1...3 {
            waiting.received(bytes: 1_000)
            waiting.add(acknowledge(UInt64(sequence)), on: lane(1), now: 100)
        }
        waiting.add(acknowledge(9), on: lane(0), now: 200)
        #expect(waiting.due == 100 + delay)
        let early = waiting.take(now: 99 + delay)
        #expect(early.isEmpty)
        let due = waiting.take(now: 100 + delay)
        #expect(due.map(\.lane) == [lane(1), lane(0)])
        #expect(due.map(\.message) == [acknowledge(3), acknowledge(9)])
        #expect(waiting.due == nil)
        let again = waiting.take(now: .max)
        #expect(again.isEmpty)
    }

    @Test("a full chunk's payload is acknowledged at once")
    func fullOnesGo() {
        var waiting = DelayedAcknowledgements()
        waiting.received(bytes: DelayedAcknowledgements.bytesAtOnce - 1)
        waiting.add(acknowledge(1), on: lane(1), now: 0)
        let early = waiting.take(now: 0)
        #expect(early.isEmpty)
        waiting.received(bytes: 1)
        let full = waiting.take(now: 0)
        #expect(full.count == 1)
    }
}
