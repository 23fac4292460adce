import ClusterModel
import Coordination
import Testing
import WireProtocol

@Suite struct LaneSessionTests {
    private static let window: UInt64 = 1_000
    private static let message = Message.pull(
        Pull(
            key: .inner(region: RegionID(0), step: 1), kind: .mean, slice: 0, position: 0))

    private func lane(_ role: LaneSession.Role, window: UInt64 = window) -> LaneSession {
        LaneSession(
            role: role,
            hello: LaneHello(
                peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(0)),
            window: window)
    }

    private func message(_ handle: UInt64, bytes: Int) -> LaneSession.Outgoing {
        LaneSession.Outgoing(
            epoch: Epoch(rawValue: 1), message: Self.message,
            payload: PayloadHandle(rawValue: handle), payloadBytes: bytes)
    }

    private func outgoing(_ handle: UInt64, bytes: Int) -> LaneSession.Event {
        .send(message(handle, bytes: bytes))
    }

    private func welcome(resumeFrom: UInt64 = 0, grantedTo: UInt64 = window) -> LaneSession.Event {
        control(.laneWelcome(LaneWelcome(resumeFrom: resumeFrom, grantedTo: grantedTo)))
    }

    private func acknowledge(_ received: UInt64, grantedTo: UInt64) -> LaneSession.Event {
        control(.acknowledge(Acknowledge(received: received, grantedTo: grantedTo)))
    }

    private func control(_ message: Message) -> LaneSession.Event {
        .received(sequence: 0, message: message, payload: nil, payloadBytes: 0)
    }

    private func incoming(_ sequence: UInt64, handle: UInt64, bytes: Int) -> LaneSession.Event {
        .received(
            sequence: sequence, message: Self.message, payload: PayloadHandle(rawValue: handle),
            payloadBytes: bytes)
    }

    private func sent(_ sequence: UInt64, _ handle: UInt64) -> LaneSession.Effect {
        .transmit(
            sequence: sequence, epoch: Epoch(rawValue: 1), message: Self.message,
            payload: PayloadHandle(rawValue: handle))
    }

    private func said(_ message: Message) -> LaneSession.Effect {
        .transmit(sequence: 0, epoch: .none, message: message, payload: nil)
    }

    private func openDialler(grantedTo: UInt64 = window) -> LaneSession {
        var lane = lane(.dialler)
        _ = lane.handle(.connected)
        _ = lane.handle(welcome(grantedTo: grantedTo))
        return lane
    }

    private func openAcceptor(window: UInt64 = window) -> LaneSession {
        var lane = lane(.acceptor, window: window)
        _ = lane.handle(.connected)
        return lane
    }

    // MARK: Opening

    @Test func diallerGreetsAndIsOpenWhenWelcomed() {
        var lane = lane(.dialler)
        #expect(lane.phase == .down)
        let greeting = LaneHello(
            peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(0), resumeFrom: 0,
            grantedTo: Self.window)
        #expect(lane.handle(.connected) == [said(.laneHello(greeting))])
        #expect(lane.phase == .greeting)
        #expect(lane.handle(welcome()) == [.opened])
        #expect(lane.phase == .open)
        #expect(lane.credit == Self.window)
    }

    @Test func acceptorWelcomesAndIsOpenAtOnce() {
        var lane = lane(.acceptor)
        let welcome = LaneWelcome(resumeFrom: 0, grantedTo: Self.window)
        #expect(lane.handle(.connected) == [said(.laneWelcome(welcome)), .opened])
        #expect(lane.phase == .open)
    }

    @Test func welcomeWithoutGreetingIsAViolation() {
        var lane = lane(.dialler)
        #expect(lane.handle(welcome()) == [.violation("LANE-WELCOME without LANE-HELLO")])
        #expect(lane.phase == .down)
    }

    @Test func greetingFromAnAcceptorIsAViolation() {
        var lane = openDialler()
        let hello = LaneHello(
            peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(1), resumeFrom: 0,
            grantedTo: 0)
        #expect(
            lane.handle(control(.laneHello(hello)))
                == [.violation("LANE-HELLO from an acceptor")])
        #expect(lane.phase == .open)
    }

    // MARK: Sending

    @Test func nothingIsTakenBeforeTheLaneIsOpen() {
        var lane = lane(.dialler)
        #expect(!lane.takes(message(1, bytes: 0), onFirst: false))
        _ = lane.handle(.connected)
        #expect(!lane.takes(message(1, bytes: 0), onFirst: false))
        _ = lane.handle(welcome())
        #expect(lane.takes(message(1, bytes: 1_000), onFirst: false))
        #expect(!lane.takes(message(1, bytes: 1_001), onFirst: false))
    }

    @Test func creditIsUsedUpAndReturned() {
        var lane = openDialler()
        #expect(lane.handle(outgoing(1, bytes: 600)) == [sent(1, 1)])
        #expect(!lane.takes(message(2, bytes: 600), onFirst: false))
        #expect(lane.credit == 400)
        #expect(lane.bytesInFlight == 600)
        // The peer has it, and has not let go of it: no more credit.
        #expect(
            lane.handle(acknowledge(1, grantedTo: 1_000))
                == [.acknowledged(PayloadHandle(rawValue: 1))])
        #expect(lane.bytesInFlight == 0)
        #expect(!lane.takes(message(2, bytes: 600), onFirst: false))
        _ = lane.handle(acknowledge(1, grantedTo: 1_600))
        #expect(lane.handle(outgoing(2, bytes: 600)) == [sent(2, 2)])
        #expect(lane.credit == 400)
        #expect(lane.unacknowledged == 1)
    }

    @Test func olderGrantChangesNothing() {
        var lane = openDialler()
        #expect(lane.handle(acknowledge(0, grantedTo: 10)) == [])
        #expect(lane.credit == Self.window)
    }

    @Test func acknowledgingWhatWasNeverSentIsAViolation() {
        var lane = openDialler()
        _ = lane.handle(outgoing(1, bytes: 10))
        #expect(
            lane.handle(acknowledge(2, grantedTo: 1_000))
                == [.violation("acknowledges sequence 2, which was never sent")])
        #expect(lane.unacknowledged == 1)
    }

    // MARK: Reconnecting

    @Test func reconnectionResendsWhatThePeerDoesNotHave() {
        var lane = openDialler()
        for handle: UInt64 in 1...3 { _ = lane.handle(outgoing(handle, bytes: 100)) }
        #expect(lane.handle(.disconnected) == [])
        #expect(lane.phase == .down)
        #expect(!lane.takes(message(4, bytes: 100), onFirst: false))
        _ = lane.handle(.connected)
        #expect(
            lane.handle(welcome(resumeFrom: 1)) == [
                .acknowledged(PayloadHandle(rawValue: 1)), sent(2, 2), sent(3, 3), .opened,
            ])
        #expect(lane.framesResent == 2)
        #expect(lane.unacknowledged == 2)
    }

    @Test func reconnectionSaysWhatThisSideHolds() {
        var lane = openAcceptor()
        _ = lane.handle(incoming(1, handle: 7, bytes: 100))
        _ = lane.handle(incoming(2, handle: 8, bytes: 100))
        _ = lane.handle(.consumed(bytes: 100))
        _ = lane.handle(.disconnected)
        let welcome = LaneWelcome(resumeFrom: 2, grantedTo: 1_100)
        #expect(lane.handle(.connected) == [said(.laneWelcome(welcome)), .opened])
    }

    // MARK: Receiving

    @Test func framesInOrderAreDeliveredAndAcknowledged() {
        var lane = openAcceptor()
        #expect(
            lane.handle(incoming(1, handle: 7, bytes: 100)) == [
                .deliver(message: Self.message, payload: PayloadHandle(rawValue: 7)),
                said(.acknowledge(Acknowledge(received: 1, grantedTo: 1_000))),
            ])
    }

    @Test func duplicateIsDiscardedWithoutDelivery() {
        var lane = openAcceptor()
        _ = lane.handle(incoming(1, handle: 7, bytes: 100))
        #expect(
            lane.handle(incoming(1, handle: 8, bytes: 100))
                == [.discard(PayloadHandle(rawValue: 8))])
    }

    @Test func moreBytesThanTheWindowIsAViolation() {
        var lane = openAcceptor()
        _ = lane.handle(incoming(1, handle: 7, bytes: 900))
        #expect(
            lane.handle(incoming(2, handle: 8, bytes: 101)) == [
                .discard(PayloadHandle(rawValue: 8)),
                .violation("sent past the credit of 1000 bytes"),
            ])
        #expect(lane.handle(incoming(2, handle: 9, bytes: 100)).count == 2)
    }

    @Test func creditIsAnnouncedByHalfWindows() {
        var lane = openAcceptor(window: 2 << 20)
        _ = lane.handle(incoming(1, handle: 7, bytes: 1_200_000))
        #expect(lane.handle(.consumed(bytes: 800_000)) == [])
        #expect(
            lane.handle(.consumed(bytes: 400_000)) == [
                said(.acknowledge(Acknowledge(received: 1, grantedTo: 3_297_152)))
            ])
    }

    /// Less than a chunk and what contributions leave to means: nothing that is let go may wait.
    @Test(arguments: [(524_288, 15_712), (600_000, 200_000)])
    func creditIsAnnouncedBeforeItIsTooLittle(window: Int, bytes: Int) {
        var lane = openAcceptor(window: UInt64(window))
        _ = lane.handle(incoming(1, handle: 7, bytes: bytes))
        #expect(
            lane.handle(.consumed(bytes: bytes)) == [
                said(.acknowledge(Acknowledge(received: 1, grantedTo: UInt64(window + bytes))))
            ])
        #expect(lane.handle(.consumed(bytes: 0)) == [])
    }

    @Test func smallerWindowTakesHoldWithoutTakingBackWhatIsGranted() {
        var lane = openAcceptor()
        _ = lane.handle(.resize(window: 250))
        #expect(
            lane.handle(incoming(1, handle: 7, bytes: 800)) == [
                .deliver(message: Self.message, payload: PayloadHandle(rawValue: 7)),
                said(.acknowledge(Acknowledge(received: 1, grantedTo: 1_000))),
            ])
        #expect(lane.handle(.consumed(bytes: 700)) == [])
        #expect(
            lane.handle(.consumed(bytes: 100))
                == [said(.acknowledge(Acknowledge(received: 1, grantedTo: 1_050)))])
    }

    /// The first lane is granted all that several will share. While what its peer keeps is more than its
    /// share, means must go on passing, or neither of the two ever lets go of anything.
    @Test func meansPassWhileASmallerWindowTakesHold() {
        let chunk = 262_144
        var lane = openAcceptor(window: UInt64(12 * chunk))
        _ = lane.handle(.resize(window: UInt64(3 * chunk)))
        for number: UInt64 in 1...11 {
            _ = lane.handle(incoming(number, handle: number, bytes: chunk))
        }
        for number: UInt64 in 12...14 {
            #expect(lane.handle(incoming(number, handle: number, bytes: chunk)).count == 2)
            let granted = number * UInt64(chunk) + UInt64(chunk)
            #expect(
                lane.handle(.consumed(bytes: chunk)) == [
                    said(.acknowledge(Acknowledge(received: number, grantedTo: granted)))
                ])
        }
        // What was kept is let go: nothing is granted until the smaller window is reached.
        #expect(lane.handle(.consumed(bytes: 9 * chunk)) == [])
        #expect(lane.handle(.consumed(bytes: chunk)).count == 1)
    }

    @Test func controlMessageOnALaneIsAViolation() {
        var lane = openAcceptor()
        #expect(
            lane.handle(control(.bye(Bye())))
                == [.violation("a control message on a data lane")])
        #expect(lane.phase == .open)
    }

    @Test func laneByeClosesTheLane() {
        var lane = openAcceptor()
        #expect(lane.handle(control(.laneBye(LaneBye(lastSequence: 0)))) == [])
        #expect(lane.phase == .down)
    }
}
