package import ClusterModel
import Coordination
import WireProtocol

/// Fidelity `round`, for thousands of workers: the coordinator that ships, with every member; the outer
/// schedules and the plan's geometry that ship; links and cost model as frame by frame. Workers are
/// stand-ins that speak the control protocol, and a collective is a formula (``PoolExchange``,
/// ``RegionExchange``).
///
/// Control messages are handed over unencoded, because a PLAN on the wire has at most 1,024 members;
/// their sizes are the codec's. They do not queue behind collectives. There are no faults here.
package final class RoundSimulator {
    /// Workers above which inner steps are one event per region.
    package static let regionStepsAbove = 1_000

    let topology: Topology
    let configuration: RunConfiguration
    let schedule: any OuterSchedule

    /// Why a configuration cannot be simulated round by round; nil if it can.
    package static func whyNot(_ configuration: RunConfiguration) -> String? {
        if configuration.model.experts?.crossing != nil {
            return "fidelity round has no exchanges within a step, which `across: budget` needs"
        }
        if configuration.wire.choosesBetween == true {
            return "fidelity round sends one encoding over all links, not `between: auto`"
        }
        switch configuration.schedule.outer {
        case .everyStep, .localSGD, .diloco:
            return configuration.schedule.localSteps == .equal
                ? nil : "fidelity round takes equal numbers of steps in all regions"
        case .streaming:
            return
                "fidelity round models exchanges that block; under `streaming` they overlap with steps"
        case .decoupled:
            return "fidelity round models exchanges that block; under `decoupled` none does"
        }
    }
    let options: SimulationOptions
    let cost: CostModel
    let parameters: UInt64
    let seed: UInt64
    /// Steps, heartbeats and step events are per region instead of per worker.
    let isByRegion: Bool

    /// Takes the run's events as they come; by default they are kept for the result.
    package var sink: ((StampedEvent) -> Void)?
    /// Called with true before and false after the coordinator handles an event: a driver with a clock
    /// can time it.
    package var coordinatorWorks: ((Bool) -> Void)?
    /// Events the coordinator has handled.
    package private(set) var coordinatorEvents = 0

    var queue = EventQueue<RoundOccurrence>()
    var now: Int64 = 0
    /// Collectives and lanes.
    var fabric: Fabric
    /// Control connections.
    var control: Fabric
    var sizes: FrameSizes
    var coordinator: Coordinator
    var tickVersion: UInt64 = 0
    var tickAt: Int64?
    var standIns: [StandIn] = []
    /// Of the whole pool.
    let tokensPerStep: UInt64
    var units: [StepUnit] = []
    /// Workers whose heartbeats are one event: of a region, or one.
    var beatGroups: [[Int]] = []
    var beatsStarted: [Bool]
    var exchange: PoolExchange?
    /// By region, for those in which every step is shared.
    var regionExchanges: [RegionExchange?]
    var readyUnits = 0
    var outcomes: [PoolExchange.Outcome] = []
    var hash = TraceHash()
    var occurrences = 0
    var events: [StampedEvent] = []
    var committedRounds: UInt32 = 0
    var digest: UInt64 = 0
    var outcome: (code: ExitCode, reason: String)?
    /// The one plan that is carried out.
    var adoptedVersion: UInt32 = 0

    /// - Parameter options: seed, cost model and modelled payloads count; faults must be none.
    package init(
        topology: Topology, configuration: RunConfiguration, options: SimulationOptions
    ) {
        precondition(options.faults.isEmpty, "fidelity round has no faults")
        self.topology = topology
        self.configuration = configuration
        precondition(
            Self.whyNot(configuration) == nil, "fidelity round knows blocking schedules only")
        schedule = configuration.outerSchedule
        self.options = options
        sizes = FrameSizes(encrypts: options.encrypts)
        cost = options.cost
        parameters = options.payloads.elements
        seed = options.seed
        fabric = Fabric(
            topology: topology, seed: options.seed, localRate: options.localRate)
        control = Fabric(
            topology: topology, seed: options.seed ^ 0x636f_6e74, localRate: options.localRate)
        coordinator = Coordinator(
            configuration: configuration, topology: topology, configurationText: "{}",
            configurationDigest: Simulator.configurationDigest, parameterCount: parameters)
        regionExchanges = topology.regions.map { _ in nil }
        var generator = SeededGenerator(seed: options.seed ^ 0x726f_756e)
        for seat in topology.seats {
            standIns.append(
                StandIn(
                    name: seat.worker.name, region: seat.region,
                    nominalStep: seat.worker.nominalStep,
                    tokens: UInt64(seat.worker.microBatch) * UInt64(configuration.model.context),
                    connection: ConnectionID(rawValue: UInt64(standIns.count) + 1),
                    generator: SeededGenerator(seed: generator.next())))
        }
        tokensPerStep = standIns.reduce(0) { $0 + $1.tokens }
        isByRegion = standIns.count > Self.regionStepsAbove
        if isByRegion {
            beatGroups = topology.regions.map { _ in [] }
            for seat in standIns.indices { beatGroups[standIns[seat].region.index].append(seat) }
        } else {
            beatGroups = standIns.indices.map { [$0] }
        }
        beatsStarted = beatGroups.map { _ in false }
    }

    /// Runs until the coordinator has seen everybody leave.
    package func run() -> SimulationResult {
        record(
            .runStarted(
                RunEvent.RunStarted(
                    run: Simulator.run, version: "simulated", command: [],
                    configuration: configuration, topology: topology, emulated: true, curve: false,
                    parameterCount: parameters, machine: "virtual clock")), from: "coordinator")
        tell(.started)
        for seat in standIns.indices {
            // A TCP connection first, as frame by frame.
            say(.hello, from: seat, at: 3 * oneWay(seat))
        }
        var findings: [Finding] = []
        while outcome == nil, let entry = queue.next() {
            precondition(entry.time >= now, "virtual time runs backwards")
            now = entry.time
            occurrences += 1
            let trace = entry.occurrence.trace
            hash.add(UInt64(bitPattern: now))
            hash.add(trace.kind << 48 | trace.subject)
            handle(entry.occurrence)
            guard occurrences < options.occurrenceLimit else {
                findings.append(
                    Finding(
                        checker: "liveness", time: Instant(nanoseconds: now),
                        text: "\(occurrences) occurrences without an end"))
                break
            }
        }
        conclude()
        return SimulationResult(
            events: events, findings: findings, traceHash: hash.value, code: outcome?.code,
            reason: outcome?.reason ?? "", virtualTime: Instant(nanoseconds: now),
            occurrences: occurrences,
            workerCodes: standIns.map { $0.hasLeft ? outcome?.code : nil },
            committedRounds: committedRounds, digest: digest, intervals: [])
    }

    private func handle(_ occurrence: RoundOccurrence) {
        switch occurrence {
        case .tick(let version):
            guard version == tickVersion else { return }
            tickAt = nil
            tell(.tick)
        case .toCoordinator(let seat, let word): hear(word, from: seat)
        case .toWorker(let seat, let notice): notify(seat, notice)
        case .linked(let seat, let version): say(.ready(version: version), from: seat, at: now)
        case .saved(let seat):
            standIns[seat].isParting = true
            say(.leave, from: seat, at: now)
        case .beat(let group): beat(group)
        case .beats(let group, let sentAt): hearBeats(group, sentAt)
        case .computed(let seat, let step): tellStep(seat, step)
        case .stepped(let unit): stepped(unit)
        case .exchanged(let unit, let outcome): exchanged(unit, outcome)
        }
    }

    func record(_ event: RunEvent, from source: String) {
        let stamped = StampedEvent(
            time: Instant(nanoseconds: now), source: source, event: event)
        if let sink { sink(stamped) } else { events.append(stamped) }
    }

    /// Hands an event to the coordinator's machine and carries out what it wants.
    func tell(_ event: Coordinator.Event) {
        coordinatorEvents += 1
        coordinatorWorks?(true)
        let effects = coordinator.handle(event, at: Instant(nanoseconds: now))
        coordinatorWorks?(false)
        for effect in effects {
            switch effect {
            case .send(let connection, let message, _):
                send(message, to: Int(connection.rawValue) - 1)
            case .event(let event):
                if case .roundCommitted(let key, let value, _, _) = event {
                    committedRounds = key.round
                    digest = value
                }
                record(event, from: "coordinator")
            case .finished(let code, let reason): outcome = (code, reason)
            }
        }
        setTimer()
    }

    private func setTimer() {
        guard outcome == nil, let due = coordinator.nextDeadline else { return }
        let at = max(now, due.nanoseconds)
        guard tickAt != at else { return }
        tickAt = at
        tickVersion += 1
        queue.schedule(.tick(version: tickVersion), at: at)
    }

    func oneWay(_ seat: Int) -> Int64 {
        fabric.oneWay(standIns[seat].region, topology.coordinatorRegion)
    }

    /// The figures a real run's drivers add at the end. Bytes of lanes stand under the first worker of
    /// each region.
    private func conclude() {
        for seat in standIns.indices {
            record(.budget(worker: WorkerID(seat), standIns[seat].budget), from: "stand-in")
        }
        let first = exchange?.shape.regions ?? []
        for from in first {
            for to in topology.regions.indices where to != from.id.index {
                let lanes = fabric.linkUse(from.id, RegionID(to)).bytes
                guard lanes > 0 else { continue }
                record(
                    .traffic(
                        worker: WorkerID(from.seats[0]),
                        RunEvent.Traffic(
                            toRegion: RegionID(to), frames: 0, bytes: lanes, resent: 0, values: 0,
                            encodedBytes: 0)), from: "stand-in")
            }
        }
        for from in topology.regions.indices {
            for to in topology.regions.indices where from != to {
                let lanes = fabric.linkUse(RegionID(from), RegionID(to))
                let bytes = lanes.bytes + control.linkUse(RegionID(from), RegionID(to)).bytes
                guard bytes > 0 else { continue }
                record(
                    .linkUse(
                        RunEvent.LinkUse(
                            from: RegionID(from), to: RegionID(to), bytes: bytes, flows: 0,
                            peakQueueBytes: UInt64(lanes.peakQueue))), from: "fabric")
            }
        }
    }
}
