import ClusterModel
import Coordination
import WireProtocol
package import ZeroMQ

/// The sending end of `longhaul bench lanes`.
package final class LaneSender {
    /// What it has counted.
    package struct Counts: Sendable {
        /// Handed to the lanes.
        package var sent = 0
        /// Acknowledged by the receiver.
        package var delivered = 0
        /// Given back, because the receiver's life is over.
        package var refused = 0
        package var framesResent: UInt64 = 0
        package var lanes: UInt16 = 0
        package var because = ""
        /// How often a standing lane broke, and for how long each was down (nanoseconds).
        package var resets = 0
        package var downs: [Int64] = []
        /// Longest time between two acknowledgements, nanoseconds.
        package var longestStall: Int64 = 0
        /// First acknowledgement after ``markRecovery()``.
        package var recoveredAt: Int64?
        package var firstSentAt: Int64 = 0
        package var lastAcknowledgedAt: Int64 = 0
    }

    /// Messages that may wait in the machine: two windows.
    private let queueLimit: Int
    /// Below the machine's own limit.
    private static let queueMost = 32_768
    private static let burst = 256

    private let setup: LaneBenchSetup
    private let context: Context
    private let lanes: LaneSockets
    private let chunks: NumberedChunks
    private let total: Int
    private let incarnation = WallClock.incarnation()
    private var bundle: LaneBundle?
    private var downSince: [UInt16: Int64] = [:]
    private var waitsForRecovery = false
    private var resentBefore: UInt64 = 0
    /// Numbers refused, for the comparison with the receivers' journals.
    package private(set) var refused: [UInt32] = []
    package private(set) var counts = Counts()

    /// - Parameter chunks: how many are sent, numbered from 0.
    package init(
        _ setup: LaneBenchSetup, keys: CurveKeyPair, chunks total: Int, listen: String,
        proxies: [String: String]
    ) throws {
        self.setup = setup
        self.total = total
        chunks = NumberedChunks(bytes: setup.chunkBytes)
        let window = CoordinationLimits.laneWindow(
            over: setup.topology.link(between: RegionID(0), and: RegionID(1)))
        queueLimit = min(max(64, 2 * Int(window) / setup.chunkBytes), Self.queueMost)
        context = try Context(ioThreads: 2)
        lanes = try LaneSockets(
            context,
            setup.options(LaneBenchSetup.sender, keys: keys, listen: listen, proxies: proxies),
            topology: setup.topology, region: RegionID(0))
    }

    /// Dials a receiver. What the last one has not acknowledged is refused: it will never be.
    package func connect(_ receiver: LaneBenchSetup.Receiver) throws {
        if let old = bundle {
            for lane in 0..<old.laneCount {
                lanes.hangUp(LaneID(peer: LaneBenchSetup.receiver, role: .dialler, index: lane))
            }
            resentBefore += old.framesResent
            refused += old.heldPayloads().map { UInt32($0.rawValue - 1) }
            counts.refused = refused.count
            downSince = [:]
        }
        let member = try setup.member(
            LaneBenchSetup.receiver, endpoint: receiver.endpoint, key: receiver.key,
            incarnation: receiver.incarnation)
        try lanes.allow([member])
        let link = setup.topology.link(between: RegionID(0), and: RegionID(1))
        bundle = LaneBundle(
            to: member, over: LaneRoute(over: setup.topology, from: RegionID(0), to: RegionID(1)),
            hello: LaneHello(
                peerIncarnation: member.incarnation, workerID: LaneBenchSetup.sender),
            window: CoordinationLimits.laneWindow(over: link),
            conditions: TransportLimits.conditions())
        try lanes.dial(member, lane: 0)
    }

    /// Sends everything and waits until it is acknowledged or refused.
    ///
    /// - Parameter turn: called often, with this moment; may stop, kill and replace the receiver.
    package func run(until deadline: Int64, turn: (Int64) throws -> Void) throws {
        var poller = Poller()
        var generation = -1
        var ready: [Poller.Ready] = []
        while counts.delivered + counts.refused < total {
            let now = MonotonicClock.now()
            guard now < deadline else {
                throw NodeError(
                    .unavailable,
                    "\(counts.delivered) of \(total) chunks are acknowledged, \(counts.refused) "
                        + "refused, and the time is over")
            }
            try turn(now)
            if generation != lanes.generation {
                generation = lanes.generation
                poller = Poller()
                try lanes.enrol(in: &poller, from: 16)
            }
            try refill()
            let isWaiting = counts.sent == total || (bundle?.queued ?? 0) >= queueLimit
            try poller.wait(until: isWaiting ? now + 20_000_000 : now, into: &ready)
            try lanes.poll(now: MonotonicClock.now()) { try self.take($0) }
        }
        counts.framesResent = resentBefore + (bundle?.framesResent ?? 0)
    }

    /// From now on the next acknowledgement counts as recovered.
    package func markRecovery() {
        waitsForRecovery = true
        counts.recoveredAt = nil
    }

    package func close() {
        lanes.close()
        try? context.terminate()
    }

    private func refill() throws {
        guard bundle?.isLinked == true else { return }
        for _ in 0..<Self.burst where counts.sent < total {
            guard (bundle?.queued ?? .max) < queueLimit else { return }
            if counts.sent == 0 {
                counts.firstSentAt = MonotonicClock.now()
                counts.lastAcknowledgedAt = counts.firstSentAt
            }
            let number = UInt32(counts.sent)
            counts.sent += 1
            try handle(
                .enqueue(
                    LaneSession.Outgoing(
                        epoch: LaneBenchSetup.epoch,
                        message: .chunk(chunks.chunk(number, chunks.content(number))),
                        payload: PayloadHandle(rawValue: UInt64(number) + 1),
                        payloadBytes: setup.chunkBytes)))
        }
    }

    private func take(_ input: LaneSockets.Input) throws {
        switch input {
        case .connected(let lane): try handle(.connected(lane: lane.index))
        case .disconnected(let lane):
            if downSince[lane.index] == nil {
                counts.resets += 1
                downSince[lane.index] = MonotonicClock.now()
            }
            try handle(.disconnected(lane: lane.index))
        case .frame(let lane, let header, let message, _, _):
            guard lane.role == .dialler, header.incarnation == bundle?.member.incarnation else {
                return
            }
            try handle(
                .received(
                    lane: lane.index, sequence: header.sequence, message: message, payload: nil,
                    payloadBytes: 0))
        case .violation(let what): throw NodeError(.violation, what)
        }
    }

    private func handle(_ event: LaneBundle.Event) throws {
        let effects =
            bundle?.handle(event, at: Instant(nanoseconds: MonotonicClock.now())) ?? []
        for effect in effects {
            switch effect {
            case .lane(let index, let effect): try apply(effect, index)
            case .decided(let decision):
                counts.lanes = decision.lanes
                counts.because = decision.because
            case .dial(let lane):
                if let member = bundle?.member { try lanes.dial(member, lane: lane) }
            case .dropped: break
            }
        }
    }

    private func apply(_ effect: LaneSession.Effect, _ index: UInt16) throws {
        switch effect {
        case .transmit(let sequence, let epoch, let message, let payload):
            try transmit(index, sequence, epoch, message, payload)
        case .acknowledged: noteAcknowledgement()
        case .opened:
            if let since = downSince.removeValue(forKey: index) {
                counts.downs.append(MonotonicClock.now() - since)
            }
        case .violation(let what): throw NodeError(.violation, "lane \(index): \(what)")
        case .deliver, .discard, .broken: break
        }
    }

    private func noteAcknowledgement() {
        let now = MonotonicClock.now()
        counts.delivered += 1
        counts.longestStall = max(counts.longestStall, now - counts.lastAcknowledgedAt)
        counts.lastAcknowledgedAt = now
        if waitsForRecovery {
            waitsForRecovery = false
            counts.recoveredAt = now
        }
    }

    private func transmit(
        _ index: UInt16, _ sequence: UInt64, _ epoch: Epoch, _ message: WireProtocol.Message,
        _ payload: PayloadHandle?
    ) throws {
        let header = FrameHeader(
            run: RunID(rawValue: setup.run), incarnation: incarnation,
            epoch: LaneBenchSetup.epoch, rank: Rank(0), lane: index, sequence: sequence)
        let content = payload.map { chunks.content(UInt32($0.rawValue - 1)) } ?? []
        var frame = try ZeroMQ.Message(
            copying: try FrameEncoder.encode(
                header: header, message: message, payload: content.span))
        let lane = LaneID(peer: LaneBenchSetup.receiver, role: .dialler, index: index)
        if try !lanes.send(lane, &frame) { try lanes.redial(lane) }
    }
}
