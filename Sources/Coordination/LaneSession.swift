package import ClusterModel
import DequeModule
package import WireProtocol

/// One direction-pair of a lane between two workers: numbers what it sends, holds it until it is
/// acknowledged, sends it again after a reconnection, and never has more bytes under way than the peer
/// has granted (rules 2 and 10 of libzmq's list in docs/footguns.md). What waits for credit waits in the
/// ``LaneBundle``, where every lane can take it.
///
/// The dialling side opens with LANE-HELLO, the accepting side answers LANE-WELCOME; both say up to
/// which sequence they hold everything, so that a broken connection costs what was not acknowledged.
package struct LaneSession: Sendable {
    package enum Role: String, Codable, Sendable { case dialler, acceptor }

    package enum Event: Codable, Equatable, Sendable {
        /// The transport is up (dialler: say hello; acceptor: a valid LANE-HELLO arrived). Legal in
        /// every phase: a lane may be replaced while the old connection still looks alive.
        case connected
        /// The transport broke. What is not acknowledged stays queued.
        case disconnected
        /// Something to send, of a lane that ``takes(_:onFirst:)`` it.
        case send(Outgoing)
        /// A frame from the peer. `payloadBytes` counts against the credit this side granted.
        case received(
            sequence: UInt64, message: Message, payload: PayloadHandle?, payloadBytes: Int)
        /// The receiver has let go of payload bytes that came in on this lane.
        case consumed(bytes: Int)
        /// This side grants another number of bytes from now on; what is granted stays granted.
        case resize(window: UInt64)
        /// How many lanes there are, for the next greeting.
        case decided(lanes: UInt16)
        /// Some time has passed (``CoordinationLimits/laneWatch``): what was asked for again and does not
        /// come is asked for once more.
        case watch
    }

    package enum Effect: Codable, Equatable, Sendable {
        case transmit(sequence: UInt64, epoch: Epoch, message: Message, payload: PayloadHandle?)
        case deliver(message: Message, payload: PayloadHandle?)
        /// Everything up to here has arrived at the peer; its payload may go.
        case acknowledged(PayloadHandle)
        /// Bytes that were already delivered, or may not be accepted.
        case discard(PayloadHandle)
        case opened
        case violation(String)
        /// Frames go missing again and again: over this lane the peer cannot be understood. Said again
        /// while it is so.
        case broken
    }

    /// What the receiving side does about a gap.
    private enum Repair: Sendable {
        case whole
        /// The missing frames have been asked for, and those up to `last` were thrown away since: numbers
        /// that do not grow are sent again. `isQuiet`: none has come since the last watch.
        case asked(last: UInt64, isQuiet: Bool)
        /// Asked for too often; watched so many times since it was last said.
        case broken(watches: Int)
    }

    /// A sequenced message that waits for credit or acknowledgement.
    package struct Outgoing: Codable, Equatable, Sendable {
        /// The epoch it belongs to; a resent frame keeps it.
        package var epoch: Epoch
        package var message: Message
        package var payload: PayloadHandle?
        /// Against the peer's credit.
        package var payloadBytes: Int
        /// Of a RELAY: what it carries. It costs no credit here, and takes its time on the lane all the same.
        package var relayedBytes: Int
        package init(
            epoch: Epoch, message: Message, payload: PayloadHandle?, payloadBytes: Int,
            relayedBytes: Int = 0
        ) {
            self.epoch = epoch
            self.message = message
            self.payload = payload
            self.payloadBytes = payloadBytes
            self.relayedBytes = relayedBytes
        }

        /// Whether its receiver may have no use for it before it has a mean.
        var mayBeKept: Bool {
            if case .tokens = message { return true }
            guard case .chunk(let chunk) = message else { return false }
            return chunk.kind == .contribution
        }

        var load: UInt64 { UInt64(payloadBytes + relayedBytes) }
    }

    package enum Phase: String, Codable, Sendable {
        /// No transport.
        case down
        /// Dialler only: LANE-HELLO sent.
        case greeting
        case open
    }

    package let role: Role
    package private(set) var phase: Phase = .down
    /// What the dialler says in LANE-HELLO; `resumeFrom` and `grantedTo` are filled in here.
    private var hello: LaneHello
    private var window: UInt64

    // Sending side.
    private var inFlight: Deque<Outgoing> = []
    /// Sequence of the first element of `inFlight` (or of the next to be sent).
    private var firstInFlight: UInt64 = 1
    /// Payload bytes of everything ever moved to `inFlight`, against `grantedByPeer`.
    private(set) var bytesSent: UInt64 = 0
    private var grantedByPeer: UInt64 = 0
    /// Bytes of everything ever moved to `inFlight`, with what is passed on for others.
    private(set) var loadSent: UInt64 = 0
    /// The same of what is in `inFlight`.
    package private(set) var bytesInFlight: UInt64 = 0

    // Receiving side.
    /// Everything up to here has come.
    package private(set) var received: UInt64 = 0
    private var bytesReceived: UInt64 = 0
    private var bytesConsumed: UInt64 = 0
    private var grantAnnounced: UInt64 = 0
    private var repair = Repair.whole
    private var repairs = 0
    /// The highest number that came behind a gap.
    private var highestDropped: UInt64 = 0

    package private(set) var framesResent: UInt64 = 0

    package init(role: Role, hello: LaneHello, window: UInt64 = CoordinationLimits.laneWindowBytes)
    {
        self.role = role
        self.hello = hello
        self.window = window
    }

    /// Payload bytes this side may still send before the peer grants more.
    package var credit: UInt64 { grantedByPeer - bytesSent }
    /// Messages sent and not acknowledged.
    package var unacknowledged: Int { inFlight.count }
    /// Whether it is to be watched.
    var isRepairing: Bool {
        if case .whole = repair { false } else { true }
    }

    /// Whether it can leave now. On the first lane to a peer contributions and tokens leave some credit to
    /// means: a peer that has not let a collective go yet keeps what it is sent of it, and goes on only with
    /// the means of an earlier one.
    package func takes(_ outgoing: Outgoing, onFirst isFirst: Bool) -> Bool {
        guard phase == .open else { return false }
        var wanted = UInt64(outgoing.payloadBytes)
        if isFirst, outgoing.mayBeKept { wanted += CoordinationLimits.creditForMeans(of: window) }
        return wanted <= credit
    }

    package mutating func handle(_ event: Event) -> [Effect] {
        let effects: [Effect]
        switch event {
        case .connected: effects = connect()
        case .disconnected: effects = disconnect()
        case .send(let outgoing): effects = send(outgoing)
        case .received(let sequence, let message, let payload, let bytes):
            effects = receive(sequence, message, payload, bytes)
        case .consumed(let bytes): effects = consume(bytes)
        case .resize(let window):
            self.window = window
            effects = []
        case .decided(let lanes):
            hello.lanes = lanes
            effects = []
        case .watch: effects = watch()
        }
        checkInvariants()
        return effects
    }

    /// Everything this lane still refers to; used when the peer is gone for good.
    package func heldPayloads() -> [PayloadHandle] {
        inFlight.compactMap(\.payload)
    }

    /// Payload bytes of a frame that was sent and is not acknowledged; 0 for all others.
    func bytes(inFlight sequence: UInt64) -> Int {
        guard sequence >= firstInFlight, sequence - firstInFlight < UInt64(inFlight.count) else {
            return 0
        }
        return inFlight[Int(sequence - firstInFlight)].payloadBytes
    }

    private func checkInvariants() {
        precondition(bytesSent <= grantedByPeer, "sent more than was granted")
        precondition(bytesConsumed <= bytesReceived, "consumed more than was received")
        precondition(bytesReceived <= grantAnnounced, "received more than was granted")
    }
}

// MARK: - Transport

extension LaneSession {
    private mutating func connect() -> [Effect] {
        announceGrant()
        repair = .whole
        switch role {
        case .dialler:
            phase = .greeting
            var greeting = hello
            greeting.resumeFrom = received
            greeting.grantedTo = grantAnnounced
            return [transmission(.laneHello(greeting))]
        case .acceptor:
            phase = .open
            let welcome = LaneWelcome(resumeFrom: received, grantedTo: grantAnnounced)
            return [transmission(.laneWelcome(welcome)), .opened]
        }
    }

    private mutating func disconnect() -> [Effect] {
        phase = .down
        return []
    }

    /// The peer holds everything up to `resumeFrom`: drop that, send the rest again.
    private mutating func resume(from resumeFrom: UInt64, grantedTo: UInt64) -> [Effect] {
        var effects = acknowledge(upTo: resumeFrom, grantedTo: grantedTo)
        for (offset, outgoing) in inFlight.enumerated() {
            framesResent += 1
            effects.append(
                .transmit(
                    sequence: firstInFlight + UInt64(offset), epoch: outgoing.epoch,
                    message: outgoing.message, payload: outgoing.payload))
        }
        return effects
    }
}

// MARK: - Sending

extension LaneSession {
    private mutating func send(_ outgoing: Outgoing) -> [Effect] {
        precondition(
            takes(outgoing, onFirst: false), "the lane is not open, or its credit is used up")
        let bytes = UInt64(outgoing.payloadBytes)
        bytesSent += bytes
        loadSent += outgoing.load
        bytesInFlight += outgoing.load
        let sequence = firstInFlight + UInt64(inFlight.count)
        inFlight.append(outgoing)
        return [
            .transmit(
                sequence: sequence, epoch: outgoing.epoch, message: outgoing.message,
                payload: outgoing.payload)
        ]
    }

    private mutating func acknowledge(upTo sequence: UInt64, grantedTo: UInt64) -> [Effect] {
        var effects: [Effect] = []
        guard sequence < firstInFlight + UInt64(inFlight.count) else {
            return [.violation("acknowledges sequence \(sequence), which was never sent")]
        }
        while firstInFlight <= sequence, let done = inFlight.popFirst() {
            firstInFlight += 1
            bytesInFlight -= done.load
            if let payload = done.payload { effects.append(.acknowledged(payload)) }
        }
        // Grants are cumulative and only grow; an older one arriving late changes nothing.
        grantedByPeer = max(grantedByPeer, grantedTo)
        return effects
    }
}

// MARK: - Receiving

extension LaneSession {
    private mutating func receive(
        _ sequence: UInt64, _ message: Message, _ payload: PayloadHandle?, _ payloadBytes: Int
    ) -> [Effect] {
        switch message {
        case .laneHello(let hello):
            guard role == .acceptor else { return [.violation("LANE-HELLO from an acceptor")] }
            return resume(from: hello.resumeFrom, grantedTo: hello.grantedTo)
        case .laneWelcome(let welcome):
            guard role == .dialler, phase != .down else {
                return [.violation("LANE-WELCOME without LANE-HELLO")]
            }
            // On an open lane: something is missing there, and is to be sent again.
            if phase == .open {
                return resume(from: welcome.resumeFrom, grantedTo: welcome.grantedTo)
            }
            phase = .open
            // What is missing comes next: a gap there is a new one.
            if isRepairing {
                repair = received < highestDropped ? .asked(last: .max, isQuiet: false) : .whole
            }
            // What is sent again goes first: whoever hears of `opened` may send more.
            return resume(from: welcome.resumeFrom, grantedTo: welcome.grantedTo) + [.opened]
        case .acknowledge(let ack):
            return acknowledge(upTo: ack.received, grantedTo: ack.grantedTo)
        case .chunk, .pull, .stateRequest, .stateChunk, .relay, .tokens:
            return receiveSequenced(sequence, message, payload, payloadBytes)
        case .laneBye:
            phase = .down
            return []
        case .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat, .heartbeatAck, .report,
            .commit, .close, .event, .suspect, .leave, .bye, .stop, .evicted, .error, .enrol,
            .enrolled, .offer:
            let discard = payload.map { [Effect.discard($0)] } ?? []
            return discard + [.violation("a control message on a data lane")]
        }
    }

    private mutating func receiveSequenced(
        _ sequence: UInt64, _ message: Message, _ payload: PayloadHandle?, _ payloadBytes: Int
    ) -> [Effect] {
        let discard = payload.map { [Effect.discard($0)] } ?? []
        if sequence <= received { return discard }
        guard sequence == received + 1 else { return discard + mend(sequence) }
        guard bytesReceived + UInt64(payloadBytes) <= grantAnnounced else {
            return discard + [.violation("sent past the credit of \(window) bytes")]
        }
        // A dialler that has asked still waits for LANE-WELCOME: only that opens the lane again.
        if phase == .open { repair = .whole }
        received = sequence
        bytesReceived += UInt64(payloadBytes)
        return [.deliver(message: message, payload: payload), acknowledgement()]
    }

    /// A transport in order has lost something (a ROUTER's full queue, a peer that miscounts): the peer
    /// is told what is held here, as after a reconnection, and sends the rest again; what is under way
    /// meanwhile is thrown away, and its numbers grow. One that does not grow is sent again, and what
    /// should have come before it is lost once more. A few times; then the peer is broken.
    private mutating func mend(_ sequence: UInt64) -> [Effect] {
        highestDropped = max(highestDropped, sequence)
        switch repair {
        case .asked(let last, _) where sequence > last:
            repair = .asked(last: sequence, isQuiet: false)
            return []
        case .broken: return []
        case .whole, .asked:
            return ask(
                "sequence \(sequence) after \(received): frames were lost or reordered",
                last: sequence)
        }
    }

    /// What was asked for may be lost as well, or the asking.
    private mutating func watch() -> [Effect] {
        guard phase != .down else { return [] }
        switch repair {
        case .whole: return []
        case .asked(let last, let isQuiet):
            guard isQuiet else {
                repair = .asked(last: last, isQuiet: true)
                return []
            }
            return ask(
                "nothing after \(received): frames that were asked for again do not come",
                last: last)
        case .broken(let watches):
            let isDue = watches + 1 >= CoordinationLimits.laneBrokenWatches
            repair = .broken(watches: isDue ? 0 : watches + 1)
            return isDue ? [.broken] : []
        }
    }

    private mutating func ask(_ what: String, last: UInt64) -> [Effect] {
        repairs += 1
        guard repairs <= CoordinationLimits.laneRepairs else {
            repair = .broken(watches: 0)
            return [.violation(what), .broken]
        }
        let asking: [Effect]
        switch role {
        case .dialler: asking = connect()
        case .acceptor:
            announceGrant()
            let welcome = LaneWelcome(resumeFrom: received, grantedTo: grantAnnounced)
            asking = [transmission(.laneWelcome(welcome))]
        }
        repair = .asked(last: last, isQuiet: false)
        return [.violation(what)] + asking
    }

    private mutating func consume(_ bytes: Int) -> [Effect] {
        bytesConsumed += UInt64(bytes)
        // A share that has become smaller takes hold as the larger one is used up; but some credit must come
        // back meanwhile, or means would wait for contributions that wait for them.
        let kept = CoordinationLimits.creditForMeans(of: window)
        let left = grantAnnounced - bytesReceived
        let isOver = bytesConsumed + window <= grantAnnounced
        let renewed = isOver && left < kept ? min(UInt64(bytes), kept - left) : 0
        grantAnnounced += renewed
        // Telling the peer of every release would cost a frame per chunk for nothing: half a window
        // keeps it from stalling, and so does what it still has if that is enough for any message.
        let isLow = left < UInt64(ProtocolLimits.dataPayloadBytes) + kept
        let gain = max(bytesConsumed + window, grantAnnounced) - grantAnnounced + renewed
        guard phase == .open, gain >= window / 2 || (isLow && gain > 0) else { return [] }
        return [acknowledgement()]
    }

    private mutating func acknowledgement() -> Effect {
        announceGrant()
        return transmission(
            .acknowledge(Acknowledge(received: received, grantedTo: grantAnnounced)))
    }

    /// A grant only grows: a smaller window takes hold as the peer uses up the larger one.
    private mutating func announceGrant() {
        grantAnnounced = max(grantAnnounced, bytesConsumed + window)
    }

    /// A message outside the sequence: its meaning does not depend on an epoch.
    private func transmission(_ message: Message) -> Effect {
        .transmit(sequence: 0, epoch: .none, message: message, payload: nil)
    }
}
