package import ClusterModel
package import Coordination
import WireProtocol

/// Runs the machines that ship under a virtual clock: one coordinator, one worker per seat of the
/// topology, links by their formula, trainers by a cost model, faults as told. The same arguments
/// give the same run, event by event.
package final class Simulator {
    let topology: Topology
    let configuration: RunConfiguration
    let options: SimulationOptions
    static let run = RunID(rawValue: 0x5157_0000_0000_0001)
    static let configurationDigest: UInt64 = 0x00c0_ffee

    var queue = EventQueue<Occurrence>()
    /// Virtual nanoseconds.
    var now: Int64 = 0
    var fabric: Fabric
    var coordinator: CoordinatorProcess
    var workers: [WorkerProcess] = []
    var connections: [Connection] = []
    /// Numbers for what the accepting sides count; never reused.
    var acceptedCount: UInt64 = 0
    var generator: SeededGenerator
    var hash = TraceHash()
    var occurrences = 0
    var events: [StampedEvent] = []
    var checker: RunChecker
    var intervals: [TraceInterval] = []
    /// Of the seat `SimulationOptions.recordsWorker` names.
    package private(set) var recording: [MachineRecord] = []
    var outcome: (code: ExitCode, reason: String)?
    var lastFaultEnds: Int64 = 0
    /// Frames and bytes by sending worker and destination region.
    var traffic: [[RunEvent.Traffic]]
    /// What WELCOME carries.
    let configurationText: String
    /// Makes trainers and means of a run with real arithmetic.
    let host: (any TrainerHost)?
    /// Payload bytes of the EVENT frame that tells of an event; nil: events take no bytes.
    let eventBytes: ((RunEvent) -> Int)?

    /// - Parameters:
    ///   - saved: what each seat's earlier process has saved; empty: everybody starts anew.
    ///   - host: with `.hosted` payloads, and only then. Its results cannot be checked or saved.
    ///   - configurationText: what WELCOME carries.
    ///   - eventBytes: how large an event is on the wire; nil leaves reports out of the traffic.
    package init(
        topology: Topology, configuration: RunConfiguration, options: SimulationOptions,
        resuming saved: [SavedState?] = [], host: (any TrainerHost)? = nil,
        configurationText: String = "{}", eventBytes: ((RunEvent) -> Int)? = nil
    ) {
        precondition(options.payloads.isHosted == (host != nil), "hosted payloads need a host")
        precondition(host == nil || !options.checks, "checkers know the toy trainer's arithmetic")
        self.host = host
        self.configurationText = configurationText
        self.eventBytes = eventBytes
        self.topology = topology
        self.configuration = configuration
        self.options = options
        fabric = Fabric(
            topology: topology, seed: options.seed, localRate: options.localRate)
        generator = SeededGenerator(seed: options.seed ^ 0x7369_6d75)
        coordinator = CoordinatorProcess(
            machine: Coordinator(
                configuration: configuration, topology: topology,
                configurationText: configurationText,
                configurationDigest: Self.configurationDigest,
                parameterCount: options.payloads.elements))
        let seats = topology.seats
        checker = RunChecker(
            configuration: configuration, seats: seats.count,
            elements: options.checks ? Int(options.payloads.elements) : 0,
            isModelled: options.payloads.isModelled, isFollowing: options.checks)
        let regions = topology.regions.indices
        traffic = seats.map { _ in
            regions.map {
                RunEvent.Traffic(
                    toRegion: RegionID($0), frames: 0, bytes: 0, resent: 0, values: 0,
                    encodedBytes: 0)
            }
        }
        for seat in seats {
            workers.append(
                WorkerProcess(
                    seat: workers.count, name: seat.worker.name, region: seat.region,
                    profile: seat.worker))
        }
        for (seat, state) in saved.enumerated() {
            guard let state = state?.state else { continue }
            workers[seat].disk = state
            checker.reference.resumes(from: state)
        }
        checker.expect(options.faults)
        schedule()
    }

    /// What each seat has saved, by seat: a later run resumes from it.
    package var savedStates: [SavedState?] { workers.map { $0.disk.map(SavedState.init) } }

    private func schedule() {
        let spread = UInt64(max(0, options.clockSpread.nanoseconds))
        coordinator.clockOffset = Int64(generator.integer(below: spread + 1))
        for seat in workers.indices {
            workers[seat].clockOffset = Int64(generator.integer(below: spread + 1))
            workers[seat].generator = SeededGenerator(seed: generator.next())
            let start = seat < options.starts.count ? options.starts[seat] : .zero
            queue.schedule(.startWorker(seat: seat), at: start.nanoseconds)
        }
        queue.schedule(.startCoordinator, at: options.coordinatorStart.nanoseconds)
        lastFaultEnds = options.coordinatorStart.nanoseconds
        for start in options.starts { lastFaultEnds = max(lastFaultEnds, start.nanoseconds) }
        for (index, timed) in options.faults.enumerated() {
            queue.schedule(.fault(index: index), at: timed.at.nanoseconds)
            let end = timed.at + timed.fault.length
            lastFaultEnds = max(lastFaultEnds, end.nanoseconds)
        }
        if options.checks {
            queue.schedule(.inspection, at: RunChecker.inspectionInterval)
        }
    }

    /// Runs until everybody has left, a checker objects, or a bound is passed.
    package func run() -> SimulationResult {
        while !isOver, let entry = queue.next() {
            precondition(entry.time >= now, "virtual time runs backwards")
            now = entry.time
            occurrences += 1
            let trace = entry.occurrence.trace
            hash.add(UInt64(bitPattern: now))
            hash.add(trace.kind << 48 | trace.subject)
            handle(entry.occurrence)
        }
        conclude()
        return SimulationResult(
            events: events, findings: checker.findings, traceHash: hash.value,
            code: outcome?.code, reason: outcome?.reason ?? "",
            virtualTime: Instant(nanoseconds: now),
            occurrences: occurrences, workerCodes: workers.map(\.exitCode),
            committedRounds: checker.committedRounds, digest: checker.lastDigest,
            intervals: intervals)
    }

    private var isOver: Bool {
        if options.stopsAtFinding, !checker.findings.isEmpty { return true }
        if occurrences >= options.occurrenceLimit {
            if waitsForMembers { return true }
            checker.find(
                "liveness", now, "\(occurrences) occurrences without an end: " + describeStuck())
            return true
        }
        if let bound = options.livenessBound, now > lastFaultEnds + bound.nanoseconds {
            if waitsForMembers { return true }
            checker.find(
                "liveness", now,
                "no end within \(Int(bound.seconds)) s of the last fault: " + describeStuck())
            return true
        }
        return isCoordinatorGone && workers.allSatisfy(\.isGone) && !isStartPending
    }

    /// Too few are left to start; the coordinator says so and goes on waiting, as it must.
    private var waitsForMembers: Bool {
        guard case .gathering = coordinator.machine.phase, coordinator.state == .running else {
            return false
        }
        return workers.count(where: \.isRunning) < configuration.deadlines.minimumWorkers
    }

    var isCoordinatorGone: Bool {
        switch coordinator.state {
        case .ended, .crashed: true
        case .notStarted, .running: false
        }
    }

    /// A worker that has not been started yet but will be.
    private var isStartPending: Bool {
        workers.contains { $0.state == .notStarted }
    }

    private func handle(_ occurrence: Occurrence) {
        if isDeferred(occurrence) { return }
        switch occurrence {
        case .startCoordinator: startCoordinator()
        case .startWorker(let seat): startWorker(seat)
        case .tick(.coordinator, let version):
            guard version == coordinator.tickVersion else { return }
            coordinator.tickAt = nil
            tell(.tick)
        case .tick(.worker(let seat), let version):
            guard version == workers[seat].tickVersion else { return }
            workers[seat].tickAt = nil
            tell(seat, .tick)
        case .trainer(let seat, let life): finishOrder(seat, life)
        case .reduced(let seat, let life, let job): finishReduction(seat, life, job)
        case .arrival(let connection, let direction, let generation):
            arrive(connection, direction, generation)
        case .connect(let connection, let generation): connect(connection, generation)
        case .breaks(let connection, let generation):
            if connections[connection].generation == generation { reset(connection) }
        case .fault(let index): begin(index)
        case .faultEnds(let index): end(index)
        case .inspection: inspect()
        case .notice(let connection, let direction): noticeReset(connection, direction)
        case .figures(let seat, let life): figuresAreDue(seat, life)
        case .tokenWatch(let seat, let life): watchTokens(seat, life)
        }
    }

    func keep(_ event: Worker.Event, _ effects: [Worker.Effect], of seat: Int) {
        guard options.recordsWorker == seat, workers[seat].life == 1 else { return }
        recording.append(
            .worker(process: UInt64(seat), at: workers[seat].local(now), event, effects))
    }

    /// Notes what a recorded machine is made from.
    func keepOrigin(_ seat: Int, _ hello: Hello) {
        guard options.recordsWorker == seat, workers[seat].life == 1 else { return }
        recording.append(
            .begins(
                process: UInt64(seat),
                .worker(
                    WorkerID(seat), region: workers[seat].region, hello: hello,
                    configuration: configuration, topology: topology,
                    hasRest: workers[seat].disk?.hasRest)))
    }

    /// Records an event as its source said it, at virtual time.
    func record(_ event: RunEvent, from source: String) {
        events.append(
            StampedEvent(time: Instant(nanoseconds: now), source: source, event: event))
    }

    private func describeStuck() -> String {
        var parts = ["coordinator \(coordinator.machine.phase)"]
        for worker in workers where !worker.isGone {
            guard let machine = worker.machine else { continue }
            parts.append(
                "\(worker.name) \(machine.phase) \(machine.round.stage)"
                    + " frozen=\(machine.round.isFrozen) step=\(machine.round.step)"
                    + " round=\(machine.round.round)"
                    + " flights=\(machine.round.flightKeys.map { "\($0.round).\($0.fragment.rawValue)" })"
                    + " plan=\(machine.round.plan?.plan.planVersion ?? 0)"
                    + machine.laneStates.map { " \($0)" }.joined())
        }
        return parts.joined(separator: "; ")
    }
}

extension SimulationOptions.Payloads {
    var isModelled: Bool {
        if case .modelled = self { true } else { false }
    }

    var isHosted: Bool {
        if case .hosted = self { true } else { false }
    }
}

extension WorkerProcess {
    var isGone: Bool {
        switch state {
        case .ended, .crashed: true
        case .notStarted, .running: false
        }
    }

    var exitCode: ExitCode? {
        if case .ended(let code) = state { code } else { nil }
    }
}
