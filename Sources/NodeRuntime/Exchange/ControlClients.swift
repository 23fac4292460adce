import ClusterModel
import Foundation
import WireProtocol
package import ZeroMQ

/// What `longhaul bench control` found out about one coordinator, seen from its clients.
package struct ControlLoad: Codable, Sendable {
    /// Round trips of one phase; the client's own turn over all its sockets is inside.
    package struct Phase: Codable, Sendable {
        package var seconds: Double
        package var messages: Int
        package var answers: Int
        package var messagesPerSecond: Double
        package var millisecondsMedian: Double
        package var millisecondsP99: Double
        package var millisecondsMax: Double
    }
    package var connections = 0
    package var members = 0
    package var secondsToConnect = 0.0
    /// One heartbeat a second on every connection.
    package var paced: Phase?
    /// Members as before, everybody else says the next as soon as the last was answered.
    package var flooded: Phase?
    /// Round trips of the members' heartbeats meanwhile.
    package var memberMillisecondsP99WhileFlooded = 0.0
    package var evictionsSeen = 0
}

/// Many connections to one coordinator from one thread: members of the plan, which heartbeat, and
/// guests without a seat, whose heartbeats are answered by ERROR (a plan holds some hundred members).
package final class ControlClients {
    private final class Client {
        let socket: Socket
        let name: String?
        let incarnation: Incarnation
        var sequence: UInt64 = 0
        var isReady = false
        var isGoing = false
        /// Of the heartbeat that is not answered yet; 0: none.
        var sentAt: Int64 = 0
        var due: Int64 = 0
        init(_ socket: Socket, name: String?, incarnation: Incarnation) {
            self.socket = socket
            self.name = name
            self.incarnation = incarnation
        }
    }

    /// For connecting and for the plan.
    private static let patience: Int64 = 120_000_000_000
    private static let second: Int64 = 1_000_000_000

    private let context: Context
    private let endpoint: String
    private let server: CurvePublicKey
    private var run = RunID(rawValue: 0)
    private var clients: [Client] = []
    private var poller = Poller()
    private var times: [Int64] = []
    private var memberTimes: [Int64] = []
    private var sent = 0
    private var load = ControlLoad()

    package init(endpoint: String, server: CurvePublicKey, connections: Int) throws {
        _ = DescriptorLimit.raise()
        context = try Context(ioThreads: 1, maxSockets: connections + 64)
        self.endpoint = endpoint
        self.server = server
        load.connections = connections
    }

    /// Connects the members and the guests, then measures `seconds` of each phase.
    package func measure(
        members: [(name: String, keys: CurveKeyPair)], guest: CurveKeyPair, seconds: Int
    ) throws -> ControlLoad {
        let began = MonotonicClock.now()
        load.members = members.count
        for member in members { try connect(member.name, member.keys) }
        for _ in members.count..<max(members.count, load.connections) { try connect(nil, guest) }
        for client in clients { try greet(client) }
        try wait("every connection is answered and the plan stands", since: began) {
            clients.allSatisfy { $0.isReady && ($0.isGoing || $0.name == nil) }
        }
        load.secondsToConnect = Double(MonotonicClock.now() - began) / 1e9
        load.paced = try phase(seconds: seconds, floods: false)
        memberTimes = []
        load.flooded = try phase(seconds: seconds, floods: true)
        load.memberMillisecondsP99WhileFlooded = Self.percentile(memberTimes.sorted(), 0.99)
        return load
    }

    private func connect(_ name: String?, _ keys: CurveKeyPair) throws {
        var settings = SocketOptions(security: .curveClient(keys, server: server))
        settings.immediate = false
        settings.lingerMilliseconds = 0
        settings.handshakeMilliseconds = 60_000
        let socket = try Socket(context, kind: .dealer, options: settings)
        try socket.connect(endpoint)
        try poller.add(socket, token: UInt64(clients.count), for: .readable)
        clients.append(
            Client(
                socket, name: name,
                incarnation: Incarnation(
                    rawValue: WallClock.incarnation().rawValue + UInt64(clients.count))))
    }

    private func greet(_ client: Client) throws {
        guard client.name != nil else { return try beat(client) }
        try send(client, .hello(hello(client, digest: nil)))
    }

    private func hello(_ client: Client, digest: UInt64?) -> Hello {
        guard let key = PublicKey(bytes: server.bytes) else {
            preconditionFailure("a CURVE key has 32 bytes")
        }
        return Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: client.name ?? "", region: "", endpoint: "tcp://127.0.0.1:9", dataKey: key,
            parameterCount: digest == nil ? 0 : 1, configurationDigest: digest ?? 0, round: 0,
            step: 0, stateDigest: 0, samples: 0,
            sentAt: Instant(nanoseconds: MonotonicClock.now()))
    }

    private func beat(_ client: Client) throws {
        client.sentAt = MonotonicClock.now()
        client.due = client.sentAt + Self.second
        sent += 1
        try send(
            client,
            .heartbeat(
                Heartbeat(
                    sentAt: Instant(nanoseconds: client.sentAt), step: 0, phase: .computing,
                    waitingForRanks: [], samples: 0)))
    }

    private func send(_ client: Client, _ message: WireProtocol.Message) throws {
        client.sequence += 1
        let header = FrameHeader(
            run: run, incarnation: client.incarnation, epoch: .none, rank: .none,
            sequence: client.sequence)
        var frame = try ZeroMQ.Message(
            copying: try FrameEncoder.encode(header: header, message: message))
        _ = try client.socket.send(&frame)
    }

    // MARK: Turns

    private func phase(seconds: Int, floods: Bool) throws -> ControlLoad.Phase {
        let began = MonotonicClock.now()
        times = []
        sent = 0
        // Beats are spread over the second, as those of unlike machines are.
        for (index, client) in clients.enumerated() {
            client.sentAt = 0
            client.due = began + Int64(index) * Self.second / Int64(clients.count)
        }
        let end = began + Int64(seconds) * Self.second
        while MonotonicClock.now() < end {
            let now = MonotonicClock.now()
            for client in clients where client.sentAt == 0 {
                if now >= client.due || (floods && client.name == nil) { try beat(client) }
            }
            try turn(until: now + 1_000_000)
        }
        let took = Double(MonotonicClock.now() - began) / 1e9
        let sorted = times.sorted()
        return ControlLoad.Phase(
            seconds: took, messages: sent, answers: sorted.count,
            messagesPerSecond: Double(sorted.count) / took,
            millisecondsMedian: Self.percentile(sorted, 0.5),
            millisecondsP99: Self.percentile(sorted, 0.99),
            millisecondsMax: Self.percentile(sorted, 1))
    }

    private func wait(_ what: String, since began: Int64, _ isDone: () -> Bool) throws {
        while !isDone() {
            guard MonotonicClock.now() - began < Self.patience else {
                throw NodeError(.unavailable, "not within 120 s: \(what)")
            }
            let now = MonotonicClock.now()
            for client in clients where client.isGoing && client.sentAt == 0 && now >= client.due {
                try beat(client)
            }
            try turn(until: now + 20_000_000)
        }
    }

    private func turn(until deadline: Int64) throws {
        var ready: [Poller.Ready] = []
        try poller.wait(until: deadline, into: &ready)
        for entry in ready {
            let client = clients[Int(entry.token)]
            while let message = try client.socket.receive() {
                let header = try message.withBytes { bytes in
                    try FrameDecoder.decode(bytes, limits: .control)
                }
                try take(header, client)
            }
        }
    }

    private func take(_ frame: Frame, _ client: Client) throws {
        run = frame.header.run
        switch frame.message {
        case .welcome(let welcome):
            guard !client.isReady else { return }
            client.isReady = true
            try send(client, .hello(hello(client, digest: welcome.configurationDigest)))
        case .plan(let plan):
            try send(
                client, .ready(Ready(planVersion: plan.planVersion, step: 0, holdings: [])))
        case .go:
            client.isGoing = true
        case .heartbeatAck(let ack) where ack.echoSentAt.nanoseconds == client.sentAt:
            note(client)
        case .error:
            client.isReady = true
            note(client)
        case .evicted, .refuse:
            load.evictionsSeen += 1
        default: break
        }
    }

    private func note(_ client: Client) {
        guard client.sentAt != 0 else { return }
        let time = MonotonicClock.now() - client.sentAt
        client.sentAt = 0
        times.append(time)
        if client.name != nil { memberTimes.append(time) }
    }

    private static func percentile(_ sorted: [Int64], _ share: Double) -> Double {
        guard !sorted.isEmpty else { return 0 }
        let index = min(sorted.count - 1, Int(Double(sorted.count) * share))
        return Double(sorted[index]) / 1e6
    }
}
