import ClusterModel
import Coordination
import WireProtocol
package import ZeroMQ

/// The holder of a join token asks the coordinator to admit its own key.
package struct EnrolmentRequest {
    package var endpoint: String
    package var serverKey: CurvePublicKey
    package var tokenKeys: CurveKeyPair
    package var keys: CurveKeyPair
    /// Empty: any free seat.
    package var name: String
    package var region: String
    package var proxy: String?

    package init(
        endpoint: String, serverKey: CurvePublicKey, tokenKeys: CurveKeyPair, keys: CurveKeyPair,
        name: String, region: String, proxy: String?
    ) {
        self.endpoint = endpoint
        self.serverKey = serverKey
        self.tokenKeys = tokenKeys
        self.keys = keys
        self.name = name
        self.region = region
        self.proxy = proxy
    }

    /// Returns the name of the seat.
    package func run(_ interrupt: Interrupt) throws -> String {
        let context = try Context(ioThreads: 1)
        var options = WorkerOptions(
            name: name, region: region, coordinator: endpoint, coordinatorKey: serverKey,
            keys: tokenKeys, directory: "")
        options.controlProxy = proxy
        let connection = try ControlConnection(
            context, options, incarnation: WallClock.incarnation())
        defer {
            connection.close()
            try? context.terminate()
        }
        guard let key = PublicKey(bytes: keys.publicKey.bytes) else {
            preconditionFailure("a CURVE key has 32 bytes")
        }
        var poller = Poller()
        try poller.add(connection.socket, token: 0, for: .readable)
        try poller.add(connection.monitor.socket, token: 1, for: .readable)
        poller.add(interrupt.wakeUp, token: 2)
        var ready: [Poller.Ready] = []
        let deadline = MonotonicClock.now() + NodeLimits.joinDeadline.nanoseconds
        // The configuration first: it names the seats.
        try connection.send(.hello(hello(key)), epoch: .none, rank: .none)
        var wanted: WantedSeats?
        while MonotonicClock.now() < deadline, !interrupt.isRaised {
            try poller.wait(until: MonotonicClock.now() + 250_000_000, into: &ready)
            while let input = try connection.next() {
                switch try answer(input, connection, wanted) {
                case .briefing(let topology):
                    guard wanted == nil else { continue }
                    wanted = try WantedSeats(topology, name: name, region: region)
                case .enrolled(let seat): return try seatName(seat, wanted)
                case .taken(let refusal):
                    guard wanted?.next() == true else { throw refusal }
                case .nothing: continue
                }
                guard let seat = wanted?.current else { continue }
                try connection.send(
                    .enrol(Enrol(worker: seat, region: region, controlKey: key)),
                    epoch: .none, rank: .none)
            }
        }
        if interrupt.isRaised {
            throw NodeError(interrupt.code, "interrupted before a seat was taken")
        }
        throw NodeError(
            .unavailable, "no answer from the coordinator at \(endpoint)",
            hint: "is it running, and can this machine reach that port?")
    }

    private func seatName(_ seat: WorkerID, _ wanted: WantedSeats?) throws -> String {
        guard let wanted, wanted.all.indices.contains(Int(seat.rawValue)) else {
            throw NodeError(.data, "the coordinator gave seat \(seat.rawValue), which is none")
        }
        return wanted.all[Int(seat.rawValue)]
    }

    private func hello(_ key: PublicKey) -> Hello {
        Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: Enrolment.keyName, region: "", endpoint: "", dataKey: key, parameterCount: 0,
            configurationDigest: 0, round: 0, step: 0, stateDigest: 0, samples: 0,
            sentAt: Instant(nanoseconds: MonotonicClock.now()))
    }

    private enum Answer {
        case briefing(Topology)
        case enrolled(WorkerID)
        /// Somebody else has the seat, and others may be free.
        case taken(NodeError)
        case nothing
    }

    private func answer(
        _ input: ControlConnection.Input, _ connection: ControlConnection, _ wanted: WantedSeats?
    ) throws -> Answer {
        switch input {
        case .frame(let header, .welcome(let welcome)):
            connection.run = header.run
            return .briefing(try Briefing(text: welcome.configuration).topology)
        case .frame(_, .enrolled(let enrolled)): return .enrolled(enrolled.workerID)
        case .frame(_, .refuse(let refusal)):
            let error = NodeError(refusal.code.exitCode, refusal.reason, hint: refusal.hint)
            guard refusal.code == .seatTaken else { throw error }
            return .taken(error)
        case .refused(let why):
            throw NodeError(
                .notAllowed, "\(why): the join token is not valid (any more)",
                hint: "the coordinator prints a new one at each start")
        case .frame, .down, .malformed: return .nothing
        }
    }
}

/// Seats that fit what the operator asked for, tried in the order of the cluster file.
struct WantedSeats {
    /// Names of all seats, by id.
    let all: [String]
    private var left: [String]

    init(_ topology: Topology, name: String, region: String) throws(NodeError) {
        all = topology.seats.map(\.worker.name)
        left = topology.seats.filter { seat in
            (name.isEmpty || seat.worker.name == name)
                && (region.isEmpty || topology.regions[seat.region.index].name == region)
        }.map(\.worker.name)
        guard left.isEmpty else { return }
        let what = name.isEmpty ? "no seat" : "no seat '\(name)'"
        let place = region.isEmpty ? "" : " in region '\(region)'"
        let seats = topology.seats.map {
            "\($0.worker.name) (\(topology.regions[$0.region.index].name))"
        }
        throw NodeError(
            .notAllowed, "the run has \(what)\(place)",
            hint: "its seats: \(seats.joined(separator: ", "))")
    }

    var current: String? { left.first }

    /// Goes on to the next seat; false if there is none.
    mutating func next() -> Bool {
        if !left.isEmpty { left.removeFirst() }
        return !left.isEmpty
    }
}
