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
        var ready: [Poller.Ready] = []
        let deadline = MonotonicClock.now() + NodeLimits.joinDeadline.nanoseconds
        // The configuration first: it names the seats.
        try connection.send(.hello(hello(key)), epoch: .none, rank: .none)
        var topology: Topology?
        while MonotonicClock.now() < deadline, !interrupt.isRaised {
            try poller.wait(until: MonotonicClock.now() + 250_000_000, into: &ready)
            while let input = try connection.next() {
                if case .frame(let header, .welcome(let welcome)) = input, topology == nil {
                    topology = try Briefing(text: welcome.configuration).topology
                    connection.run = header.run
                    try connection.send(
                        .enrol(Enrol(worker: name, region: region, controlKey: key)),
                        epoch: .none, rank: .none)
                }
                if let seat = try seat(input), let topology {
                    return topology.seats[Int(seat.rawValue)].worker.name
                }
            }
        }
        throw NodeError(
            .unavailable, "no answer from the coordinator at \(endpoint)",
            hint: "is it running, and can this machine reach that port?")
    }

    private func hello(_ key: PublicKey) -> Hello {
        Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: Enrolment.keyName, region: "", endpoint: "", dataKey: key, parameterCount: 0,
            configurationDigest: 0, round: 0, step: 0, stateDigest: 0, samples: 0,
            sentAt: Instant(nanoseconds: MonotonicClock.now()))
    }

    private func seat(_ input: ControlConnection.Input) throws -> WorkerID? {
        switch input {
        case .frame(_, .enrolled(let enrolled)): return enrolled.workerID
        case .frame(_, .refuse(let refusal)):
            throw NodeError(refusal.code.exitCode, refusal.reason, hint: refusal.hint)
        case .refused(let why):
            throw NodeError(
                .notAllowed, "\(why): the join token is not valid (any more)",
                hint: "the coordinator prints a new one at each start")
        case .frame, .down, .malformed: return nil
        }
    }
}
