internal import ClusterModel

/// What the progress line shows, kept up to date event by event.
struct ProgressState {
    private struct Seat {
        var name: String
        var region: RegionID
        var isHere = false
        var step: UInt32 = 0
        var loss = 0.0
        var stepTokens: UInt64 = 0
        var budget = Cumulative<RunEvent.TimeBudget>()
    }

    private var seats: [WorkerID: Seat] = [:]
    private var topology: Topology?
    private var regionNames: [String] = []
    private var links = LinkTally()
    private var hasRelay = false
    private(set) var steps: UInt32 = 0
    /// Losses mean something.
    private var learns = true
    /// Of the last evaluated step, over the workers that told theirs so far.
    private var validation: (step: UInt32, weightedLoss: Double, samples: Double)?
    private var syncEvery: UInt32 = 1
    private var fragments = 1
    private var committed: Set<CollectiveKey> = []
    private var firstStep: (time: Double, step: UInt32)?
    /// Tokens per second of time, the newest last; bounds the memory and is the rate's window.
    private var recent: [(second: Int64, tokens: UInt64)] = []
    private static let window = 10

    mutating func take(_ stamped: StampedEvent) {
        let now = stamped.time.seconds
        switch stamped.event {
        case .runStarted(let started): start(started)
        case .workerJoined(let id, let name, let region, _):
            var seat = seats[id] ?? Seat(name: name, region: region)
            seat.isHere = true
            seats[id] = seat
        case .stepped(let id, let step, let loss, let tokens, _):
            firstStep = firstStep ?? (now, step)
            seats[id]?.step = step
            seats[id]?.loss = loss
            seats[id]?.stepTokens = tokens
            count(tokens, at: stamped.time)
        case .budget(let id, let budget): seats[id]?.budget.update(budget)
        case .traffic(let id, let traffic):
            guard let region = seats[id]?.region, region != traffic.toRegion else { return }
            links.add(traffic, by: id, in: region, at: now)
        case .linkUse(let use):
            hasRelay = true
            links.add(use, at: now)
        case .roundCommitted(let key, _, _, _):
            if key.scope == .pool { committed.insert(key) }
        case .workerEvicted(let id, _, _), .workerLeft(let id, _, _, _): seats[id]?.isHere = false
        case .evaluated(_, let step, let loss, let samples):
            evaluate(step: step, loss: loss, samples: samples)
        case .epochStarted, .roundClosed, .waiting, .waited, .violation, .coordinatorLost,
            .coordinatorReturned, .checkpointWritten, .checkpointFailed, .peakMemory,
            .modelWritten, .codecUse, .expertUse, .expertsExchanged, .expertOwners,
            .tokensCrossed, .lanesDecided, .stateTaken,
            .relayed, .note, .runEnded:
            break
        }
    }

    private mutating func start(_ started: RunEvent.RunStarted) {
        steps = started.configuration.steps
        learns = started.configuration.model.synthetic == nil
        syncEvery = max(1, started.configuration.schedule.syncEvery)
        fragments = max(1, started.configuration.schedule.fragments)
        regionNames = started.topology.regions.map(\.name)
        topology = started.topology
        for seat in started.topology.seats where seats[seat.id] == nil {
            seats[seat.id] = Seat(name: seat.worker.name, region: seat.region)
        }
    }

    private mutating func evaluate(step: UInt32, loss: Double, samples: Int) {
        var sum = (step: step, weightedLoss: 0.0, samples: 0.0)
        if let validation, validation.step == step { sum = validation }
        sum.weightedLoss += loss * Double(samples)
        sum.samples += Double(samples)
        validation = sum
    }

    private mutating func count(_ tokens: UInt64, at time: Instant) {
        let second = time.nanoseconds / 1_000_000_000
        if recent.last?.second == second {
            recent[recent.count - 1].tokens = saturatingSum(recent[recent.count - 1].tokens, tokens)
        } else {
            recent.append((second, tokens))
            if recent.count > Self.window { recent.removeFirst() }
        }
    }

    var hasStepped: Bool { firstStep != nil }

    /// Before the first step: who is there, and who is waited for.
    var gathering: String {
        let here = seats.values.filter(\.isHere).count
        let missing = seats.sorted { $0.key < $1.key }.filter { !$0.value.isHere }.map(\.value.name)
        guard !seats.isEmpty else { return "starting" }
        if missing.isEmpty { return "all \(here) workers are here; the first step is under way" }
        let shown = missing.prefix(6).joined(separator: ", ") + (missing.count > 6 ? ", ..." : "")
        return "\(here) of \(seats.count) workers are here; waiting for \(shown)"
    }

    /// The last step every worker in the run has done.
    private var step: UInt32 {
        seats.values.filter { $0.isHere && $0.step > 0 }.map(\.step).min()
            ?? seats.values.map(\.step).max() ?? 0
    }

    /// The parts of the progress line, the most needed first.
    func parts(at now: Instant) -> [String] {
        var parts = ["step \(step)/\(steps)"]
        if learns { parts += lossParts }
        if let rate = tokenRate(at: now) { parts.append("\(Figures.grouped(rate)) tokens/s") }
        let budgets = seats.values.map(\.budget.total)
        let wall = budgets.reduce(0) { $0 + $1.wall.seconds }
        if wall > 0 {
            let compute = budgets.reduce(0) { $0 + $1.compute.seconds }
            parts.append("CU \(Figures.percent(compute / wall))")
        }
        if let round { parts.append(round) }
        if let eta = remaining(at: now) { parts.append("ETA \(Figures.duration(eta))") }
        if let energy { parts.append(energy) }
        return parts + linkParts
    }

    private var lossParts: [String] {
        var parts: [String] = []
        let active = seats.values.filter { $0.stepTokens > 0 }
        let tokens = active.reduce(0.0) { $0 + Double($1.stepTokens) }
        if tokens > 0 {
            let loss = active.reduce(0.0) { $0 + $1.loss * Double($1.stepTokens) } / tokens
            parts.append("loss \(Figures.fixed(loss, 3))")
        }
        if let validation, validation.samples > 0 {
            let loss = Figures.fixed(validation.weightedLoss / validation.samples, 3)
            parts.append("validation \(loss) (step \(validation.step))")
        }
        return parts
    }

    /// By the device profiles, so far.
    private var energy: String? {
        topology.flatMap { topology in
            RunSummary.Metering(topology) {
                seats[$0]?.budget.total ?? RunEvent.TimeBudget()
            }
        }.map { "\($0.text($0.total)) by profile" }
    }

    private var round: String? {
        guard syncEvery > 1, steps > 0 else { return nil }
        let total = steps / syncEvery
        // A round is done when all its fragments are.
        let done = UInt32(min(committed.count / fragments, Int(total)))
        return done < total
            ? "round \(done + 1)/\(total) (\(min(step - min(step, done * syncEvery), syncEvery))"
                + "/\(syncEvery) steps)"
            : "all \(total) rounds committed"
    }

    private func tokenRate(at now: Instant) -> Double? {
        guard let first = recent.first else { return nil }
        let span = max(1, Double(now.nanoseconds) / 1e9 - Double(first.second))
        guard span <= Double(2 * Self.window) else { return 0 }
        return recent.reduce(0) { $0 + Double($1.tokens) } / span
    }

    private func remaining(at now: Instant) -> Double? {
        guard let firstStep, step > firstStep.step, step < steps else { return nil }
        let perStep = (now.seconds - firstStep.time) / Double(step - firstStep.step)
        return perStep * Double(steps - step)
    }

    private var linkParts: [String] {
        links.directions.sorted().filter { $0.from != $0.to }.compactMap { direction in
            let bytes =
                hasRelay ? links.relayCount(direction)?.bytes : links.laneCount(direction).bytes
            guard let bytes else { return nil }
            return "\(name(direction.from))>\(name(direction.to)) \(Figures.bytes(Double(bytes)))"
        }
    }

    func name(of worker: WorkerID) -> String {
        seats[worker]?.name ?? "worker \(worker.rawValue)"
    }

    private func name(_ region: RegionID) -> String {
        regionNames.indices.contains(region.index)
            ? regionNames[region.index] : "region \(region.rawValue)"
    }
}
