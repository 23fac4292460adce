package import ClusterModel

/// A run's record as a Chrome trace: what of the link's use lies beside which steps.
///
/// One row per worker with its steps, each from the end of the one before (waiting included) to its own; one
/// row with waits; the share of time in each part of the time budget and the rate of each direction between
/// regions as counters, over the intervals in which they were told; commits and evictions as instants.
package struct RunTrace {
    private var trace = ChromeTrace()
    private var names: [WorkerID: String] = [:]
    private var regions: [RegionID] = []
    private var regionNames: [String] = []
    private var isStarted = false
    private var stepEnds: [WorkerID: Int64] = [:]
    private var budgets: [WorkerID: RunEvent.TimeBudget] = [:]
    private var links: [Direction: (time: Int64, bytes: UInt64)] = [:]
    private var lanes: [WorkerID: [RegionID: UInt64]] = [:]
    private let relays: Bool
    private let waitRow: Int
    /// A restarted coordinator's clock begins at zero again.
    private var offset: Int64 = 0
    private var last: Int64 = 0

    package static func json(_ events: [StampedEvent]) throws(RunSummaryError) -> String {
        let topology = events.lazy.compactMap {
            if case .runStarted(let started) = $0.event { started.topology } else { nil }
        }.first
        guard let topology else { throw .noStart(events: events.count) }
        // A relay counts what crossed the link; without one the lanes say what they were given.
        let relays = events.contains { if case .linkUse = $0.event { true } else { false } }
        var run = RunTrace(topology, relays: relays)
        for event in events { run.add(event) }
        return run.trace.json
    }

    private init(_ topology: Topology, relays: Bool) {
        self.relays = relays
        regionNames = topology.regions.map(\.name)
        waitRow = topology.seats.count
        for seat in topology.seats {
            names[seat.id] = seat.worker.name
            regions.append(seat.region)
            trace.row(Int(seat.id.rawValue), name: seat.worker.name)
        }
        trace.row(waitRow, name: "waits")
    }

    private mutating func add(_ stamped: StampedEvent) {
        if case .runStarted = stamped.event {
            if isStarted, stamped.time.nanoseconds + offset < last { offset = last }
            isStarted = true
        }
        let now = stamped.time.nanoseconds + offset
        last = max(last, now)
        switch stamped.event {
        case .stepped(let id, let step, _, _):
            let start = stepEnds[id] ?? now
            trace.span("step \(step)", row: Int(id.rawValue), start: start, end: now)
            stepEnds[id] = now
        case .budget(let id, let budget): addBudget(id, budget, now)
        case .linkUse(let use) where relays:
            addLink(Direction(from: use.from, to: use.to), use.bytes, now)
        case .traffic(let id, let traffic) where !relays: addLanes(id, traffic, now)
        case .roundCommitted(let key, _, _, _) where key.scope == .pool:
            trace.instant("commit of round \(key.round), fragment \(key.fragment.index)", at: now)
        case .workerEvicted(let id, _, _):
            trace.instant("\(names[id] ?? "a worker") evicted", at: now)
        case .waiting(let observer, let activity, let waited, let since, _, _):
            let text = "\(observer): \(activity) (\(waited.joined(separator: ", ")))"
            trace.span(text, row: waitRow, start: since.nanoseconds + offset, end: now)
        default: break
        }
    }

    private mutating func addBudget(_ id: WorkerID, _ budget: RunEvent.TimeBudget, _ now: Int64) {
        defer { budgets[id] = budget }
        // The first of a life: since its first step.
        let before = budgets[id].flatMap { budget.isRestart(after: $0) ? nil : $0 } ?? .zero
        let wall = (budget.wall - before.wall).nanoseconds
        guard wall > 0 else { return }
        func share(_ part: KeyPath<RunEvent.TimeBudget, Interval>) -> Double {
            Double((budget[keyPath: part] - before[keyPath: part]).nanoseconds) / Double(wall)
        }
        trace.counter(
            "\(names[id] ?? ""): share of time", at: now - wall,
            [
                ("compute", share(\.compute)), ("encode", share(\.encode)),
                ("wait", share(\.wait)), ("transfer", share(\.transfer)),
                ("decode", share(\.decode)), ("apply", share(\.apply)),
                ("recover", share(\.recover)),
            ])
    }

    /// Sum over a region's workers, of which each tells its own.
    private mutating func addLanes(_ id: WorkerID, _ traffic: RunEvent.Traffic, _ now: Int64) {
        let seat = Int(id.rawValue)
        guard regions.indices.contains(seat), regions[seat] != traffic.toRegion else { return }
        lanes[id, default: [:]][traffic.toRegion] = traffic.bytes
        let sum = lanes.reduce(UInt64(0)) {
            regions[Int($1.key.rawValue)] == regions[seat]
                ? saturatingSum($0, $1.value[traffic.toRegion] ?? 0) : $0
        }
        addLink(Direction(from: regions[seat], to: traffic.toRegion), sum, now)
    }

    private mutating func addLink(_ direction: Direction, _ bytes: UInt64, _ now: Int64) {
        guard direction.from != direction.to else { return }
        guard let before = links[direction], bytes >= before.bytes else {
            links[direction] = (now, bytes)
            return
        }
        // Workers of a region tell theirs one after the other: one point for all of them.
        guard now - before.time >= 500_000_000 else { return }
        links[direction] = (now, bytes)
        let megabits = Double(bytes - before.bytes) * 8e3 / Double(now - before.time)
        trace.counter(
            "\(name(direction.from)) -> \(name(direction.to)), Mbit/s", at: before.time,
            [(relays ? "on the link" : "handed to the lanes", megabits)])
    }

    private func name(_ region: RegionID) -> String {
        regionNames.indices.contains(region.index) ? regionNames[region.index] : "region"
    }
}
