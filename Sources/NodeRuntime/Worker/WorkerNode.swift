package import ClusterModel
import Coordination
import DequeModule
import WireProtocol
import ZeroMQ

/// The real driver of a ``Worker``: one loop thread with the machine and all sockets, one trainer
/// thread.
package final class WorkerNode {
    private enum Token {
        static let trainer: UInt64 = 0
        static let interrupt: UInt64 = 1
        static let control: UInt64 = 2
        static let controlMonitor: UInt64 = 3
        static let lanes: UInt64 = 16
    }

    let options: WorkerOptions
    private let context: Context
    private let incarnation: Incarnation
    let control: ControlConnection
    let trainer: TrainerThread
    private let interrupt: Interrupt
    private let recorder: MachineRecorder?
    let log: (String) -> Void
    /// Added to the monotonic clock: Instants are the coordinator's, to half a round trip.
    var clockOffset: Int64 = 0
    var coordinatorClock = CoordinatorClock()

    var machine: Worker?
    private var lanes: LaneSockets?
    var setup: TrainerSetup?
    var payloads = PayloadStore()
    let reducer: ReductionRunner
    var places = MeanPlaces(parameterCount: 0)
    private var contributions: GradientContributions
    var figures = WorkerFigures()
    var backlog: [RunEvent] = []
    var controlIsDown = false
    private var outcome: (code: ExitCode, reason: String)?
    var figuresDue: Int64 = 0
    private var inbox: Deque<Worker.Event> = []
    private var isStepping = false
    var tokenWatch = TokenWatch()
    /// Under which plan the trainer takes tokens.
    var tokenEpoch: Epoch?
    private var acknowledgements = DelayedAcknowledgements()

    /// - Parameters:
    ///   - recorder: takes what the machine is told and wants.
    ///   - log: one line for the operator of this worker.
    package init(
        _ options: WorkerOptions, interrupt: Interrupt, recorder: MachineRecorder? = nil,
        log: @escaping (String) -> Void
    ) throws {
        self.recorder = recorder
        self.options = options
        self.interrupt = interrupt
        self.log = log
        context = try Context(ioThreads: 2)
        reducer = ReductionRunner(options.pool)
        contributions = GradientContributions(options.pool)
        incarnation = WallClock.incarnation()
        control = try ControlConnection(context, options, incarnation: incarnation)
        trainer = try TrainerThread()
        trainer.mailbox.shuffle(options.tokenOrder)
    }

    var now: Instant { Instant(nanoseconds: MonotonicClock.now() + clockOffset) }

    /// Joins, trains, leaves. Returns how it ended.
    package func run() throws -> (code: ExitCode, reason: String) {
        defer {
            try? sendEvents()
            trainer.stop()
            lanes?.removeSocketFile()
            // libzmq 4.3.4 aborts on closing a socket whose SOCKS proxy has failed; the process ends
            // now anyway, and there is nobody left to say anything to.
            if !controlIsDown || options.controlProxy == nil {
                lanes?.close()
                control.close()
                try? context.terminate()
            }
        }
        guard let welcome = try fetchBriefing() else {
            return (interrupt.code, "interrupted before it had joined")
        }
        try prepare(welcome)
        try loop()
        return outcome ?? (.unavailable, "the loop ended without an outcome")
    }

    // MARK: Joining

    /// HELLO without parameters asks for the configuration; repeated until it comes.
    private func fetchBriefing() throws -> Welcome? {
        let began = MonotonicClock.now()
        var poller = Poller()
        try poller.add(control.socket, token: Token.control, for: .readable)
        try poller.add(control.monitor.socket, token: Token.controlMonitor, for: .readable)
        poller.add(interrupt.wakeUp, token: Token.interrupt)
        var ready: [Poller.Ready] = []
        var helloDue = began
        var reported = began
        while true {
            let time = MonotonicClock.now()
            if interrupt.isRaised { return nil }
            if time >= helloDue {
                try control.send(.hello(hello(nil)), epoch: .none, rank: .none)
                helloDue = time + 1_000_000_000
            }
            if time - reported >= 4_000_000_000 {
                reported = time
                let left = (NodeLimits.joinDeadline.nanoseconds - (time - began)) / 1_000_000_000
                log("waiting for the coordinator at \(options.coordinator), \(left) s left")
            }
            guard time - began < NodeLimits.joinDeadline.nanoseconds else {
                throw NodeError(
                    .unavailable, "no answer from the coordinator at \(options.coordinator)",
                    hint: "is it running, and can this machine reach that port?")
            }
            try poller.wait(until: min(helloDue, time + 500_000_000), into: &ready)
            while let input = try control.next() {
                if let welcome = try briefing(input) { return welcome }
            }
        }
    }

    private func briefing(_ input: ControlConnection.Input) throws -> Welcome? {
        switch input {
        case .frame(let header, .welcome(let welcome)):
            control.run = header.run
            let half = (MonotonicClock.now() - welcome.echoSentAt.nanoseconds) / 2
            clockOffset =
                welcome.coordinatorTime.nanoseconds - (welcome.echoSentAt.nanoseconds + half)
            return welcome
        case .frame(_, .refuse(let refusal)):
            throw NodeError(
                refusal.code.exitCode, "refused by the coordinator: \(refusal.reason)",
                hint: refusal.hint)
        case .refused(let why):
            throw NodeError(
                .notAllowed, why,
                hint: "compare the server key of the join token, and the coordinator's allow-list")
        case .malformed(let what):
            throw NodeError(.data, "the coordinator sent a malformed frame: \(what)")
        case .frame, .down:
            return nil
        }
    }

    private var dataKey: PublicKey {
        guard let key = PublicKey(bytes: options.keys.publicKey.bytes) else {
            preconditionFailure("a CURVE key has 32 bytes")
        }
        return key
    }

    private func hello(_ ready: TrainerThread.Ready?) -> Hello {
        Hello(
            minVersion: ProtocolLimits.version, maxVersion: ProtocolLimits.version,
            worker: options.name, region: options.region, endpoint: lanes?.endpoint ?? "",
            dataKey: dataKey,
            parameterCount: ready?.parameterCount ?? 0, configurationDigest: 0,
            round: ready?.restored?.round ?? 0, step: UInt64(ready?.restored?.step ?? 0),
            stateDigest: ready?.restored?.digest ?? 0, samples: ready?.restored?.samples ?? 0,
            sentAt: Instant(nanoseconds: MonotonicClock.now()))
    }

    private func prepare(_ welcome: Welcome) throws {
        var briefing = try Briefing(text: welcome.configuration)
        if let path = options.dataPath { briefing.configuration.data.path = path }
        let topology = briefing.topology
        let seat = topology.seats[Int(welcome.workerID.rawValue)]
        lanes = try LaneSockets(context, options, topology: topology, region: seat.region)
        var setup = TrainerSetup(
            configuration: briefing.configuration, topology: topology, worker: welcome.workerID,
            name: options.name, directory: options.directory)
        setup.storesChunks = options.storesChunks
        if let transform = options.tokenTransform { setup.tokenTransform = transform }
        self.setup = setup
        log("'\(options.name)' has seat \(welcome.workerID.rawValue); reading the text")
        let ready = try trainer.start(setup, options) {
            _ = try? self.control.send(.hello(self.hello(nil)), epoch: .none, rank: .none)
        }
        if let restored = ready.restored {
            log("resumes from step \(restored.step), round \(restored.round)")
        }
        var hello = hello(ready)
        hello.configurationDigest = welcome.configurationDigest
        places = MeanPlaces(parameterCount: Int(ready.parameterCount))
        reducer.classes = TensorClassTally(tensors: ready.tensors)
        machine = Worker(
            worker: welcome.workerID, region: seat.region, hello: hello,
            configuration: briefing.configuration, topology: topology,
            hasRest: ready.restored?.hasRest ?? false)
        recorder?.begin(
            .worker(
                welcome.workerID, region: seat.region, hello: hello,
                configuration: briefing.configuration, topology: topology,
                hasRest: ready.restored?.hasRest))
        figures.regions = topology.seats.map(\.region)
    }

    // MARK: The loop

    private func loop() throws {
        guard let lanes else { return }
        var poller = Poller()
        var generation = -1
        var ready: [Poller.Ready] = []
        try step(.conditions(TransportLimits.conditions()))
        try step(.started)
        while outcome == nil {
            if generation != lanes.generation {
                generation = lanes.generation
                poller = try makePoller(lanes)
            }
            try poller.wait(until: wakeTime(lanes), into: &ready)
            if interrupt.isRaised, !interrupt.isHandled {
                interrupt.markHandled()
                try step(.leave(code: interrupt.code, reason: "interrupted by its operator"))
            }
            try takeControl()
            try lanes.poll(now: MonotonicClock.now()) { try self.take($0) }
            try takeTrainer(isAwake: ready.contains { $0.token == Token.trainer })
            try contribute()
            if let deadline = machine?.nextDeadline, now >= deadline { try step(.tick) }
            for (lane, message) in acknowledgements.take(now: MonotonicClock.now()) {
                try send(lane, 0, .none, message, nil)
            }
            if MonotonicClock.now() >= figuresDue { try reportFigures() }
            try sendEvents()
        }
    }

    private func makePoller(_ lanes: LaneSockets) throws -> Poller {
        var poller = Poller()
        poller.add(trainer.wakeUp, token: Token.trainer)
        poller.add(interrupt.wakeUp, token: Token.interrupt)
        try poller.add(control.socket, token: Token.control, for: .readable)
        try poller.add(control.monitor.socket, token: Token.controlMonitor, for: .readable)
        try lanes.enrol(in: &poller, from: Token.lanes)
        return poller
    }

    private func wakeTime(_ lanes: LaneSockets) -> Int64 {
        if contributions.isReady { return 0 }
        var time = figuresDue
        if let deadline = machine?.nextDeadline {
            time = min(time, deadline.nanoseconds - clockOffset)
        }
        if let redial = lanes.nextRedial { time = min(time, redial) }
        if let due = acknowledgements.due { time = min(time, due) }
        return time
    }

    private func takeControl() throws {
        for _ in 0..<NodeLimits.burst {
            guard let input = try control.next() else { return }
            switch input {
            case .frame(let header, let message):
                controlIsDown = false
                coordinatorClock.heard(message, at: now)
                try step(.control(message, epoch: header.epoch))
            case .down:
                controlIsDown = true
                try step(.controlDown)
            case .refused(let why):
                // While the coordinator is away something else may answer; it was said already.
                if !controlIsDown { log(why) }
            case .malformed(let what):
                try report(.violation(culprit: "coordinator", what: what))
            }
        }
    }

    private func take(_ input: LaneSockets.Input) throws {
        switch input {
        case .connected(let lane): try step(.laneConnected(lane))
        case .disconnected(let lane): try step(.laneDisconnected(lane))
        case .violation(let what): try report(.violation(culprit: "a peer", what: what))
        case .frame(let lane, let header, let message, let held, let payload):
            let bytes = PayloadBytes(of: message, in: held, range: payload)
            acknowledgements.received(bytes: payload.count)
            try step(
                .lane(
                    lane,
                    Worker.LaneFrame(
                        incarnation: header.incarnation, epoch: header.epoch,
                        sequence: header.sequence, message: message,
                        payload: bytes.map { payloads.add($0) }, payloadBytes: payload.count)))
        }
    }

    /// A few chunks at a time: what arrives meanwhile has its turn between them.
    private func contribute() throws {
        for _ in 0..<NodeLimits.contributionBurst {
            guard let (encoding, chunk, bytes) = try contributions.next() else { return }
            try encoded(encoding.key, encoding.epoch, chunk, bytes)
        }
    }

    private func encoded(
        _ key: CollectiveKey, _ epoch: Epoch, _ chunk: TrainerOrder.Chunk, _ bytes: PayloadBytes
    ) throws {
        let payload = EncodedPayload(
            handle: payloads.add(bytes), bytes: bytes.count, elements: UInt32(chunk.range.count),
            transform: bytes.transform, stage: bytes.stage)
        try step(
            .trainer(
                .encoded(
                    key: key, epoch: epoch, slice: chunk.slice, position: chunk.position,
                    payload: payload)))
    }

    private func takeTrainer(isAwake: Bool) throws {
        for output in trainer.take(isAwake: isAwake) {
            switch output {
            case .event(let event):
                tokenWatch.note(event)
                try step(.trainer(event))
            case .gradient(let place): contributions.gradient = place
            case .encoded(let key, let epoch, let chunk, let bytes):
                try encoded(key, epoch, chunk, bytes)
            case .stateRead(let peer, let chunk, let bytes):
                let payload = EncodedPayload(
                    handle: payloads.add(bytes), bytes: bytes.count, elements: chunk.count,
                    transform: .fp32, stage: .stored)
                try step(.trainer(.stateRead(to: peer, chunk: chunk, payload: payload)))
            case .tokens(let peer, let epoch, let tokens, let bytes):
                let payload = bytes.map { tokenPayload(tokens, $0) }
                try step(.tokens(to: peer, epoch: epoch, tokens, payload))
            case .failed(let what):
                try report(.violation(culprit: options.name, what: what))
                try step(.leave(code: .data, reason: what))
            case .report(let event): try report(event)
            case .codecUse(let classes): try reportCodecUse(classes)
            }
        }
    }

    // MARK: Driving the machine

    // Read through the chain and never by `if let machine`, which copies the machine: there is one per frame.

    /// Of the plan in force.
    private var epoch: Epoch { machine?.round.plan?.epoch ?? .none }

    private var rank: Rank { machine?.round.plan?.rank ?? .none }

    /// Events that arise while effects are carried out wait their turn: effects of one event must all
    /// be out (and frames in sequence) before the next event is looked at.
    func step(_ event: Worker.Event) throws {
        inbox.append(event)
        guard !isStepping else { return }
        isStepping = true
        defer { isStepping = false }
        while let next = inbox.popFirst() {
            let time = now
            guard let effects = machine?.handle(next, at: time) else { return }
            recorder?.note(next, effects, at: time)
            try updateTokens()
            for effect in effects { try apply(effect) }
            placeMean(of: next)
        }
        if let kind = machine?.idleKind { trainer.account.idle(as: kind) }
    }

    private func apply(_ effect: Worker.Effect) throws {
        guard let lanes else { return }
        switch effect {
        case .control(let message):
            if case .leave = message { try reportFigures() }
            try sendEvents()
            try control.send(message, epoch: epoch, rank: rank)
        case .allow(let members):
            let notes = try lanes.allow(
                members, shares: machine?.round.plan?.laneShares ?? [:])
            for text in notes { try report(.note(source: options.name, text: text)) }
        case .dial(let member, let lane):
            do {
                if try lanes.dial(member, lane: lane).hasPrefix("ipc:") {
                    let way =
                        lanes.willShareMemory(with: member.workerID)
                        ? "in shared memory" : "by a Unix socket"
                    try report(
                        .note(
                            source: options.name,
                            text: "reaches \(member.name), on this machine, \(way)"))
                }
            } catch {
                try report(
                    .violation(
                        culprit: member.name,
                        what: "its endpoint '\(member.endpoint)' cannot be dialled: \(error)"))
            }
        case .hangUp(let lane): lanes.hangUp(lane)
        case .transmit(let lane, let sequence, let epoch, let message, let payload):
            try transmit(lane, sequence, epoch, message, payload)
        case .train(let order): submit(order)
        case .reduce(
            let key, let epoch, let slice, let position, let sources, let transform, let elements,
            let round):
            let contribution = round.flatMap {
                machine?.round.plan?.contribution(to: $0, slice: slice, position: position)
            }
            let mean = try reduce(sources, key.scope, transform, elements, contribution)
            try step(
                .reduced(key: key, epoch: epoch, slice: slice, position: position, mean: mean))
        case .release(let handle): payloads.release(handle)
        case .tokens(let peer, let epoch, let tokens, let handle):
            try deliver(tokens, handle, from: peer, epoch)
        case .event(let event): try report(event)
        case .finished(let code, let reason): outcome = (code, reason)
        }
    }

    private func submit(_ order: TrainerOrder) {
        switch order {
        case .absorb(let absorption):
            let place = absorption.means.isEmpty ? nil : places.finish(absorption.key)
            contributions.end(absorption.key)
            if let place { contributions.gradient = place }
            trainer.submit(
                .absorb(
                    absorption, absorption.means.map { payloads[$0.payload.handle] }, place: place))
        case .encode(let encoding):
            places.begin(encoding)
            let plan = machine?.round.plan
            let ownSlices =
                plan.map { $0.geometry(of: encoding.key).slices(ownedBy: $0.rank) } ?? []
            guard !contributions.begin(encoding, ownSlices: ownSlices) else { return }
            trainer.submit(.encode(encoding, ownSlices: ownSlices))
        case .installState(let chunk, let handle):
            trainer.submit(.install(chunk, payloads[handle], handle))
        case .compute(let step, let samples):
            contributions.endAll()
            trainer.submit(.compute(step: step, samples: samples, tokenGroup))
        case .evaluate, .checkpoint, .save, .readState, .takeOver:
            trainer.submit(.order(order))
        }
    }

    private func transmit(
        _ lane: LaneID, _ sequence: UInt64, _ epoch: Epoch, _ message: WireProtocol.Message,
        _ payload: PayloadHandle?
    ) throws {
        guard case .acknowledge = message else {
            return try send(lane, sequence, epoch, message, payload)
        }
        acknowledgements.add(message, on: lane, now: MonotonicClock.now())
    }

    private func send(
        _ lane: LaneID, _ sequence: UInt64, _ epoch: Epoch, _ message: WireProtocol.Message,
        _ payload: PayloadHandle?
    ) throws {
        guard let lanes else { return }
        let header = FrameHeader(
            run: control.run, incarnation: incarnation,
            epoch: epoch == .none ? self.epoch : epoch, rank: rank, lane: lane.index,
            sequence: sequence)
        let bytes = payload.map { payloads[$0] }
        let frame = try OutgoingFrame(
            header, message, bytes, options.pool, isShared: lanes.sharesMemory(with: lane.peer))
        if let payload, let bytes, bytes.isPlaced {
            payloads.replace(payload, with: bytes.settled)
        }
        let size = frame.count
        if try lanes.send(lane, frame) {
            figures.sent(to: lane.peer, frameBytes: size, message: message)
            if case .relay(let relay) = message, relay.origin != machine?.worker {
                figures.passedOn(from: relay.origin, to: lane.peer, frameBytes: size)
            }
            options.counters.sent(
                frameBytes: size,
                leavesRegion: figures.regions[Int(lane.peer.rawValue)] != machine?.round.region,
                tokenBytes: message.type == .tokens ? bytes?.count ?? 0 : 0)
        } else {
            try step(.laneDisconnected(lane))
            if lane.role == .dialler { try lanes.redial(lane) }
        }
    }
}
