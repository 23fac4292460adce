import ClusterModel
import Coordination
import WireProtocol

/// One worker's machine (seat 0 of two regions of two) with its peers' frames made up by the test. It has
/// said HELLO, was welcomed and follows `plan` under epoch 1.
struct LoneWorker {
    var machine: Worker
    var now = Instant.at(1)

    init(_ plan: Plan, laneWindow: UInt64? = nil) {
        let seat = Fixtures.topology().seats[0]
        machine = Worker(
            worker: seat.id, region: seat.region, hello: Fixtures.hello(seat),
            configuration: Fixtures.configuration(), topology: Fixtures.topology(),
            laneWindow: laneWindow)
        _ = machine.handle(.started, at: now)
        _ = machine.handle(
            .control(
                .welcome(
                    Welcome(
                        workerID: seat.id, version: 1,
                        configurationDigest: Fixtures.configurationDigest, configuration: "{}",
                        echoSentAt: .zero, coordinatorTime: .zero)), epoch: .none), at: now)
        _ = follow(plan, epoch: 1)
    }

    mutating func follow(_ plan: Plan, epoch: UInt32) -> [Worker.Effect] {
        machine.handle(.control(.plan(plan), epoch: Epoch(rawValue: epoch)), at: now)
    }

    func dialled(_ peer: Int) -> LaneID { LaneID(peer: WorkerID(peer), role: .dialler) }
    func accepted(_ peer: Int) -> LaneID { LaneID(peer: WorkerID(peer), role: .acceptor) }

    /// The lane this worker dials to `peer` opens.
    mutating func open(_ peer: Int, grantedTo: UInt64 = 8 << 20) -> [Worker.Effect] {
        machine.handle(.laneConnected(dialled(peer)), at: now)
            + frame(
                dialled(peer), .laneWelcome(LaneWelcome(resumeFrom: 0, grantedTo: grantedTo)))
    }

    /// `peer` says LANE-HELLO.
    mutating func greeted(
        by peer: Int, resumeFrom: UInt64 = 0, grantedTo: UInt64 = 8 << 20, life: UInt64 = 1
    ) -> [Worker.Effect] {
        var hello = LaneHello(
            peerIncarnation: Incarnation(rawValue: 1), workerID: WorkerID(peer),
            grantedTo: grantedTo)
        hello.resumeFrom = resumeFrom
        return frame(accepted(peer), .laneHello(hello), life: life)
    }

    mutating func frame(
        _ lane: LaneID, _ message: Message, sequence: UInt64 = 0, epoch: UInt32 = 0,
        payload: UInt64? = nil, bytes: Int = 0, life: UInt64 = 1
    ) -> [Worker.Effect] {
        machine.handle(
            .lane(
                lane,
                Worker.LaneFrame(
                    incarnation: Incarnation(rawValue: life), epoch: Epoch(rawValue: epoch),
                    sequence: sequence, message: message,
                    payload: payload.map { PayloadHandle(rawValue: $0) }, payloadBytes: bytes)),
            at: now)
    }

    static func chunk(_ position: UInt32 = 0, key: CollectiveKey = outer) -> Message {
        .chunk(
            Chunk(
                key: key, kind: .contribution, transform: .int8, stage: .stored, slice: 0,
                group: 0, position: position, elements: 65_536, weight: 1, origin: Rank(1),
                flags: []))
    }

    static let outer = CollectiveKey.outer(fragment: FragmentID(0), round: 1)

    static func relay(
        from origin: Int, to destination: Int, sequence: UInt64, epoch: UInt32 = 1,
        _ inner: Message = chunk()
    ) -> Message {
        .relay(
            Relay(
                origin: WorkerID(origin), destination: WorkerID(destination),
                epoch: Epoch(rawValue: epoch), sequence: sequence, inner: inner))
    }
}

extension [Worker.Effect] {
    var violations: [String] {
        compactMap { if case .event(.violation(_, let what)) = $0 { what } else { nil } }
    }
    var released: [UInt64] {
        compactMap { if case .release(let handle) = $0 { handle.rawValue } else { nil } }
    }
    /// Sequenced frames and greetings to `peer`: number and type.
    func sent(to peer: Int) -> [String] {
        compactMap {
            guard case .transmit(let lane, let sequence, _, let message, _) = $0,
                lane.peer == WorkerID(peer), message.type != .acknowledge
            else { return nil }
            return "\(sequence) \(message.type)"
        }
    }
}
