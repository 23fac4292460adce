internal import ClusterModel
internal import Glibc
internal import ZeroMQ

/// The relay's single thread: epoll, the delivery queue and the two link clocks.
///
/// One turn: deliver what is due, let the readable flows of both directions have their turns as far
/// as the links have room, wait for the next event or deadline.
final class RelayLoop {
    /// Identifiers of descriptors which are not flows' legs.
    private enum Special {
        static let listeners: [UInt64] = [.max - 1, .max - 2]
        static let stop: UInt64 = .max - 3
        static let parent: UInt64 = .max - 4
    }

    let ports: RelayPorts
    let limits: [2 of Int]
    let pool = BlockPool()
    let events: EventQueue
    var clocks: [2 of LinkClock]
    var deliveries = DeliveryQueue()
    var flows: [UInt64: RelayFlow] = [:]
    var report: RelayReport
    /// Bytes held for each direction.
    var held: [2 of Int] = [0, 0]
    private var rings: [2 of FIFO<UInt64>] = [FIFO(), FIFO()]
    private let listeners: [2 of Int32]
    private let flowLimit: Int
    let concealsRefusals: Bool
    /// Ports of the further links that flows dialled from a side cross after this one.
    let chains: [2 of [UInt16]]
    private let startedAt = MonotonicClock.now()
    private let reportFile: RelayReportFile?
    private var nextReport: Int64
    private var nextFlow: UInt64 = 1
    private var isStopping = false
    /// Set when the parent has gone: flows may end in order until then.
    private var drainUntil: Int64?
    private var hasWarned = false
    private var resets: RelayResets

    init(_ configuration: RelayConfiguration) throws(RelayError) {
        events = try EventQueue()
        concealsRefusals = configuration.concealsRefusals
        chains = [configuration.chainFromA ?? [], configuration.chainFromB ?? []]
        let a = try LoopbackSocket.listen(
            port: configuration.aPort, bufferBytes: RelayLimits.socketBufferBytes)
        let b = try LoopbackSocket.listen(
            port: configuration.bPort, bufferBytes: RelayLimits.socketBufferBytes)
        listeners = [a.0, b.0]
        ports = RelayPorts(aPort: a.1, bPort: b.1)
        clocks = [
            LinkClock(
                configuration.aToB, seed: configuration.seed,
                schedule: configuration.aToBSchedule, origin: startedAt),
            LinkClock(
                configuration.bToA, seed: ~configuration.seed,
                schedule: configuration.bToASchedule, origin: startedAt),
        ]
        limits = [
            RelayLimits.flowBytes(configuration.aToB, configuration.aToBSchedule),
            RelayLimits.flowBytes(configuration.bToA, configuration.bToASchedule),
        ]
        resets = RelayResets(
            configuration.resets ?? [], seed: configuration.seed, origin: startedAt)
        // Two descriptors per flow, some for the relay itself: accept never runs out of them.
        flowLimit = min(RelayLimits.flows, (DescriptorLimit.raise() - 32) / 2)
        report = RelayReport(configuration)
        reportFile = configuration.reportPath.map { RelayReportFile($0) }
        nextReport = startedAt + RelayLimits.reportInterval
        for side in RelaySide.allCases {
            try events.add(
                listeners[side.rawValue], id: Special.listeners[side.rawValue],
                edgeTriggered: false, writes: false)
        }
    }

    deinit {
        for flow in flows.values { closeLegs(of: flow) }
        for side in RelaySide.allCases { LoopbackSocket.close(listeners[side.rawValue]) }
    }

    func stopWhenReadable(_ descriptor: Int32) throws(RelayError) {
        try events.add(descriptor, id: Special.stop, edgeTriggered: false, writes: false)
    }

    /// Standard input must be a pipe or socket which the parent holds open.
    func stopAtEndOfInput() throws(RelayError) {
        do {
            try events.add(0, id: Special.parent, edgeTriggered: false, writes: false)
        } catch {
            throw RelayError(
                "watch", "standard input", reason: error.reason,
                hint: "exitWithParent needs a pipe from the parent as standard input")
        }
    }

    func run() throws {
        // At once, so that a bad path fails now and no report of an earlier run is taken for ours.
        try writeReport()
        while !isStopping, !hasDrained {
            deliverDue()
            let isBusy = giveTurns()
            let now = MonotonicClock.now()
            if now >= nextReport { tick(now) }
            if now >= resets.next { reset(now) }
            events.wait(until: isBusy ? now : nextDeadline(now), now: now) { handle($0) }
        }
        try writeReport()
    }

    /// Workers that leave in order because their parent died too still talk over the link.
    private var hasDrained: Bool {
        guard let drainUntil else { return false }
        return flows.isEmpty || MonotonicClock.now() >= drainUntil
    }

    // MARK: - Events

    private func handle(_ event: EventQueue.Event) {
        switch event.id {
        case Special.listeners[0]: acceptAll(.a)
        case Special.listeners[1]: acceptAll(.b)
        case Special.stop: isStopping = true
        case Special.parent:
            guard DescriptorLimit.hasEnded(0) else { return }
            // An ended pipe stays readable: without this the loop would never sleep again.
            DescriptorLimit.replaceByNull(0)
            drainUntil = MonotonicClock.now() + RelayLimits.drainNanoseconds
        default:
            guard let flow = flows[event.id >> 1] else { return }
            handle(event, of: flow, at: event.id & 1 == 0 ? .a : .b)
        }
    }

    private func handle(_ event: EventQueue.Event, of flow: RelayFlow, at side: RelaySide) {
        if event.failed {
            let code = LoopbackSocket.error(of: flow[leg: side].descriptor)
            if case .dialling = flow.phase, side != flow.dialler {
                connectionFailed(flow, code)
                return
            }
            if code != 0 {
                legDied(flow, side)
                return
            }
        }
        if event.readable { flow[leg: side].readable = true }
        if event.writable { flow[leg: side].writable = true }
        switch flow.phase {
        case .handshake where side == flow.dialler: advanceHandshake(flow)
        case .dialling where side != flow.dialler && event.writable: connected(flow)
        case .chaining where side != flow.dialler: advanceChain(flow)
        case .handshake, .crossing, .dialling, .chaining, .refusing: break
        case .answering, .open:
            queue(flow, side)
            if event.writable { flush(flow, from: side.other) }
        }
    }

    private func acceptAll(_ side: RelaySide) {
        while let descriptor = LoopbackSocket.accept(listeners[side.rawValue]) {
            guard flows.count < flowLimit else {
                report[side].flowsRefused += 1
                LoopbackSocket.reset(descriptor)
                continue
            }
            let flow = RelayFlow(
                id: nextFlow, dialler: side, startedAt: MonotonicClock.now(), pool: pool)
            nextFlow += 1
            flow[leg: side].descriptor = descriptor
            flows[flow.id] = flow
            watch(flow, side)
        }
    }

    /// Watches a leg; a refusal by the kernel (memory) ends the flow.
    func watch(_ flow: RelayFlow, _ side: RelaySide) {
        do {
            try events.add(
                flow[leg: side].descriptor, id: flow.id << 1 | UInt64(side.rawValue),
                edgeTriggered: true, writes: true)
        } catch {
            report[flow.dialler].flowsRefused += 1
            remove(flow)
        }
    }

    // MARK: - Turns

    /// Puts a flow into the ring of a direction if it has something to read and room to hold it.
    func queue(_ flow: RelayFlow, _ side: RelaySide) {
        let channel = flow[channel: side]
        guard !channel.isQueued, flow[leg: side].readable, flow.mayRead(side),
            channel.segments < RelayLimits.flowSegments,
            channel.bytes.count + RelayLimits.turnBytes <= limits[side.rawValue]
        else { return }
        channel.isQueued = true
        rings[side.rawValue].append(flow.id)
    }

    /// Gives turns to both directions alternately; true when more could be done at once.
    private func giveTurns() -> Bool {
        for _ in 0..<RelayLimits.turnsPerWait {
            let now = MonotonicClock.now()
            let a = turn(.a, now)
            let b = turn(.b, now)
            guard a || b else { return false }
            if deliveries.earliest <= now { return true }
        }
        return true
    }

    /// Lets the first flow of a direction's ring read once; false when none may.
    private func turn(_ side: RelaySide, _ now: Int64) -> Bool {
        let index = side.rawValue
        let size = turnBytes(side)
        guard let id = rings[index].first, clocks[index].canAccept(bytes: size, now: now),
            held[index] + size <= RelayLimits.directionBytes
        else { return false }
        rings[index].removeFirst()
        guard let flow = flows[id] else { return true }
        let channel = flow[channel: side]
        channel.isQueued = false
        guard flow.mayRead(side) else { return true }
        switch LoopbackSocket.read(flow[leg: side].descriptor, into: channel.bytes, atMost: size) {
        case .moved(let count): accept(count, of: flow, side, now)
        case .wouldBlock: flow[leg: side].readable = false
        case .ended:
            channel.hasEnded = true
            send(.end, of: flow, from: side, bytes: RelayLimits.controlBytes, now)
        case .failed: legDied(flow, side)
        }
        return true
    }

    private func accept(_ count: Int, of flow: RelayFlow, _ side: RelaySide, _ now: Int64) {
        held[side.rawValue] += count
        flow[channel: side].segments += 1
        send(.data(count), of: flow, from: side, bytes: count, now)
        report[side].bytesAccepted += UInt64(count)
        report[side].segments += 1
        let queued = clocks[side.rawValue].queuedBytes(at: now)
        report[side].peakQueueBytes = max(report[side].peakQueueBytes, queued)
        queue(flow, side)
    }

    /// Puts something on the link; it arrives after everything the flow sent before.
    func send(
        _ kind: Delivery.Kind, of flow: RelayFlow, from side: RelaySide, bytes: Int, _ now: Int64
    ) {
        let channel = flow[channel: side]
        let delivery = clocks[side.rawValue].reserve(
            bytes: bytes, now: now, after: channel.lastDelivery)
        channel.lastDelivery = delivery.deliver
        deliveries.add(delivery.deliver, flow.id, from: side, kind)
    }

    /// A queue smaller than a turn takes one turn of its own size at a time.
    private func turnBytes(_ side: RelaySide) -> Int {
        min(RelayLimits.turnBytes, clocks[side.rawValue].parameters.queueLimitBytes)
    }

    // MARK: - Time

    private func nextDeadline(_ now: Int64) -> Int64 {
        var deadline = min(deliveries.earliest, nextReport, resets.next)
        for side in RelaySide.allCases where !rings[side.rawValue].isEmpty {
            let room = clocks[side.rawValue].acceptTime(bytes: turnBytes(side))
            // Past: not the queue but `directionBytes` holds the ring up, until something is taken.
            if room > now { deadline = min(deadline, room) }
        }
        return deadline
    }

    /// Resets what the schedule asks for: both ends learn of it at once, as from a middle box.
    private func reset(_ now: Int64) {
        for flow in resets.take(dueBy: now, from: flows.filter { !$1.isSettingUp }.keys.sorted()) {
            guard let flow = flows[flow] else { continue }
            report[flow.dialler].flowsReset += 1
            remove(flow)
        }
    }

    private func tick(_ now: Int64) {
        nextReport = now + RelayLimits.reportInterval
        for flow in flows.values where flow.isSettingUp {
            let delays = report.aToB.link.oneWayNanoseconds + report.bToA.link.oneWayNanoseconds
            if now - flow.startedAt > RelayLimits.setUpNanoseconds + delays {
                report[flow.dialler].flowsRefused += 1
                remove(flow)
            }
        }
        do {
            try writeReport()
        } catch {
            // A full disk must not cut the link; the last report's failure ends the run with it.
            guard !hasWarned else { return }
            hasWarned = true
            RelayReportFile.warn("relay: write report: \(error); trying again every second")
        }
    }

    private func writeReport() throws {
        guard let reportFile else { return }
        let now = MonotonicClock.now()
        report.seconds = Double(now - startedAt) / 1e9
        report.openFlows = flows.count
        for side in RelaySide.allCases {
            report[side].queueBytes = clocks[side.rawValue].queuedBytes(at: now)
        }
        try reportFile.write(report)
    }
}
