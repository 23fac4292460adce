package import ClusterModel
import Coordination
import DequeModule
import WireProtocol
package import ZeroMQ

/// What a coordinator process is started with.
package struct CoordinatorOptions: Sendable {
    package var configuration: RunConfiguration
    package var topology: Topology
    package var keys: CurveKeyPair
    package var listen: String
    /// Public keys with a seat's name.
    package var allowed: [CurvePublicKey: String]
    /// A key that may enrol further workers; nil where all keys are known.
    package var enrolment: CurveKeyPair?
    package var parameterCount: UInt64
    package var run: RunID

    package init(
        configuration: RunConfiguration, topology: Topology, keys: CurveKeyPair, listen: String,
        allowed: [CurvePublicKey: String], enrolment: CurveKeyPair?, parameterCount: UInt64,
        run: RunID
    ) {
        self.configuration = configuration
        self.topology = topology
        self.keys = keys
        self.listen = listen
        self.allowed = allowed
        self.enrolment = enrolment
        self.parameterCount = parameterCount
        self.run = run
    }
}

/// The real driver of a ``Coordinator``: one loop thread with the machine and its ROUTER.
package final class CoordinatorNode {
    private enum Token {
        static let interrupt: UInt64 = 0
        static let router: UInt64 = 1
    }

    private let options: CoordinatorOptions
    private let context: Context
    private let authenticator: ZapAuthenticator
    private let router: Socket
    package let endpoint: String
    private let interrupt: Interrupt
    private let incarnation = WallClock.incarnation()
    private let began = MonotonicClock.now()
    private let recorder: MachineRecorder?
    private let record: (StampedEvent) throws -> Void

    private var machine: Coordinator
    private var connections: [RoutingID: ConnectionID] = [:]
    private var routes: [ConnectionID: (route: RoutingID, name: String)] = [:]
    /// Connections that have had a WELCOME.
    private var welcomed: Set<ConnectionID> = []
    private var nextConnection: UInt64 = 1
    private var sequence: UInt64 = 0
    private var enrolment: Enrolment
    private var inbox: Deque<Coordinator.Event> = []
    private var isStepping = false
    private var isStopping = false
    private var outcome: (code: ExitCode, reason: String)?
    private var figuresDue: Int64 = 0

    /// - Parameters:
    ///   - recorder: takes what the machine is told and wants.
    ///   - record: called for every event of the run, in order, on the loop thread.
    package init(
        _ options: CoordinatorOptions, interrupt: Interrupt, recorder: MachineRecorder? = nil,
        record: @escaping (StampedEvent) throws -> Void
    ) throws {
        self.recorder = recorder
        self.options = options
        self.interrupt = interrupt
        self.record = record
        context = try Context(ioThreads: 1, maxSockets: 8192)
        var allowed = options.allowed
        if let key = options.enrolment?.publicKey { allowed[key] = Enrolment.keyName }
        authenticator = try ZapAuthenticator(
            context, domain: NodeLimits.zapDomain, allowing: allowed)
        var settings = SocketOptions(
            security: .curveServer(options.keys, domain: NodeLimits.zapDomain))
        settings.sendHighWaterMark = NodeLimits.controlHighWaterMark
        settings.receiveHighWaterMark = NodeLimits.controlHighWaterMark
        settings.maxMessageSize = Int64(ProtocolLimits.controlFrameBytes)
        try StartUpSelfTest.run(
            context, authenticator: authenticator, serverOptions: settings)
        // The self-test leaves its own keys in the list.
        try authenticator.replaceAllowed(allowed)
        router = try Socket(context, kind: .router, options: settings)
        endpoint = try router.bind(options.listen)
        enrolment = Enrolment(topology: options.topology, taken: options.allowed.values.sorted())
        let briefing = Briefing(
            configuration: options.configuration, topology: options.topology)
        machine = Coordinator(
            configuration: options.configuration, topology: options.topology,
            configurationText: briefing.text,
            configurationDigest: TextDigest.of(briefing.text),
            parameterCount: options.parameterCount)
        recorder?.begin(
            .coordinator(
                configuration: options.configuration, topology: options.topology,
                configurationText: briefing.text,
                configurationDigest: TextDigest.of(briefing.text),
                parameterCount: options.parameterCount))
    }

    private var now: Instant { Instant(nanoseconds: MonotonicClock.now() - began) }

    /// Coordinates until the run is over. Returns how it ended.
    ///
    /// - Parameter tick: called at least twice a second, for views that show time passing; what it throws
    ///   ends the run.
    package func run(
        _ started: RunEvent, tick: (Instant) throws -> Void
    ) throws -> (code: ExitCode, reason: String) {
        defer {
            router.close()
            authenticator.stop()
            try? context.terminate()
        }
        try record(StampedEvent(time: .zero, source: "coordinator", event: started))
        var poller = Poller()
        poller.add(interrupt.wakeUp, token: Token.interrupt)
        try poller.add(router, token: Token.router, for: .readable)
        var ready: [Poller.Ready] = []
        try step(.started)
        while outcome == nil {
            let deadline = machine.nextDeadline.map { $0.nanoseconds + began }
            try poller.wait(until: min(deadline ?? .max, figuresDue), into: &ready)
            // Its own flag: several coordinators of one process may share an interrupt.
            if interrupt.isRaised, !isStopping {
                isStopping = true
                interrupt.markHandled()
                try step(.stop(code: interrupt.code, reason: "stopped by the operator"))
            }
            for _ in 0..<NodeLimits.burst {
                guard let message = try router.receiveRouted() else { break }
                try receive(message)
            }
            try step(.tick)
            try tick(now)
            if MonotonicClock.now() >= figuresDue {
                figuresDue = MonotonicClock.now() + NodeLimits.figuresInterval.nanoseconds
                try report(
                    .peakMemory(process: "coordinator", bytes: ProcessMemory.peakBytes()),
                    from: "coordinator")
            }
        }
        return outcome ?? (.unavailable, "the loop ended without an outcome")
    }

    // MARK: Frames in

    private func receive(_ message: consuming RoutedMessage) throws {
        let route = message.sender
        let name = message.body.userID ?? ""
        let connection = connection(for: route, name)
        do {
            let bytes = message.body.copiedBytes
            let frame = try FrameDecoder.decode(bytes.span, limits: .control)
            try accept(frame, bytes, from: connection, name)
        } catch let error as FrameError {
            try report(
                .violation(culprit: name, what: "malformed frame: \(error)"), from: "coordinator")
            try send(to: connection, complaint(error, connection), epoch: .none)
        }
    }

    /// A stranger's first frame is refused; whoever was welcomed is told (section 8.6 of the
    /// protocol).
    private func complaint(_ error: FrameError, _ connection: ConnectionID) -> WireProtocol.Message
    {
        guard !welcomed.contains(connection) else {
            return .error(
                ErrorMessage(
                    code: .malformedFrame, text: "\(error)", offendingType: 0,
                    offendingSequence: 0))
        }
        let isVersion = if case .unsupportedVersion = error { true } else { false }
        return .refuse(
            Refuse(
                code: isVersion ? .version : .malformedFrame, reason: "\(error)",
                hint: isVersion
                    ? "use the same release of Longhaul on all machines"
                    : "something on the way damages frames, or the peer is no Longhaul worker",
                minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version))
    }

    private func accept(
        _ frame: Frame, _ bytes: [UInt8], from connection: ConnectionID, _ name: String
    ) throws {
        guard frame.header.run == options.run || frame.header.run.rawValue == 0 else {
            return try send(
                to: connection,
                .refuse(
                    Refuse(
                        code: .wrongRun, reason: "this worker belongs to another run",
                        hint: "start it again with this run's join token",
                        minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version)),
                epoch: .none)
        }
        switch frame.message {
        case .event where name != Enrolment.keyName:
            guard let event = EventCoding.decode(Array(bytes[frame.payload])) else {
                return try report(
                    .violation(culprit: name, what: "sent an event of a kind unknown here"),
                    from: "coordinator")
            }
            try report(event, from: name)
        case .enrol(let request):
            try enrol(request, from: connection, name)
        case .hello(let hello) where name == Enrolment.keyName:
            try send(to: connection, .welcome(briefing(hello)), epoch: .none)
        default:
            guard name != Enrolment.keyName else { return }
            try step(
                .message(
                    from: connection, name: name, incarnation: frame.header.incarnation,
                    frame.message, epoch: frame.header.epoch))
        }
    }

    /// The run as a holder of the join token may see it: no seat yet.
    private func briefing(_ hello: Hello) -> Welcome {
        let text = Briefing(
            configuration: options.configuration, topology: options.topology
        ).text
        return Welcome(
            workerID: WorkerID(rawValue: .max), version: ProtocolLimits.version,
            configurationDigest: TextDigest.of(text), configuration: text,
            echoSentAt: hello.sentAt, coordinatorTime: now)
    }

    /// A holder of the join token takes a seat: from now on its own key opens the door.
    private func enrol(_ request: Enrol, from connection: ConnectionID, _ name: String) throws {
        guard name == Enrolment.keyName else { return }
        guard let key = CurvePublicKey(request.controlKey.bytes.span) else { return }
        switch enrolment.take(
            worker: request.worker, region: request.region, key: request.controlKey)
        {
        case .success(let seat):
            try authenticator.allow(key, as: seat.name)
            try send(to: connection, .enrolled(Enrolled(workerID: seat.id)), epoch: .none)
            try report(
                .note(source: "coordinator", text: "'\(seat.name)' enrolled with a join token"),
                from: "coordinator")
        case .failure(let refusal):
            try send(
                to: connection,
                .refuse(
                    Refuse(
                        code: refusal.code, reason: refusal.reason, hint: refusal.hint,
                        minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version)),
                epoch: .none)
        }
    }

    private func connection(for route: RoutingID, _ name: String) -> ConnectionID {
        if let known = connections[route] { return known }
        let connection = ConnectionID(rawValue: nextConnection)
        nextConnection += 1
        connections[route] = connection
        routes[connection] = (route, name)
        return connection
    }

    // MARK: Driving the machine

    private func step(_ event: Coordinator.Event) throws {
        inbox.append(event)
        guard !isStepping else { return }
        isStepping = true
        defer { isStepping = false }
        while let next = inbox.popFirst() {
            let time = now
            let effects = machine.handle(next, at: time)
            recorder?.note(next, effects, at: time)
            for effect in effects {
                switch effect {
                case .send(let connection, let message, let epoch):
                    try send(to: connection, message, epoch: epoch)
                case .event(let event): try report(event, from: "coordinator")
                case .finished(let code, let reason): outcome = (code, reason)
                }
            }
        }
    }

    private func send(
        to connection: ConnectionID, _ message: WireProtocol.Message, epoch: Epoch
    ) throws {
        guard let (route, _) = routes[connection] else { return }
        if case .welcome = message { welcomed.insert(connection) }
        sequence += 1
        let header = FrameHeader(
            run: options.run, incarnation: incarnation, epoch: epoch, rank: .none,
            sequence: sequence)
        var frame = try ZeroMQ.Message(
            copying: try FrameEncoder.encode(header: header, message: message))
        // Full is not gone (rule 3): what a slow worker does not read now is repeated or obsolete.
        guard try router.send(to: route, &frame) == .unreachable else { return }
        routes[connection] = nil
        connections[route] = nil
        welcomed.remove(connection)
        try step(.unreachable(connection))
    }

    private func report(_ event: RunEvent, from source: String) throws {
        try record(StampedEvent(time: now, source: source, event: event))
    }
}
