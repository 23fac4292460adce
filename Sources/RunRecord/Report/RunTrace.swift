package import ClusterModel

/// A run's record as a Chrome trace: what of the link's use lies beside which steps.
///
/// One row per worker with its steps, each from the end of the one before (waiting included) to its own; one
/// row per observer with its waits; the share of time in each part of the time budget and the rate of each
/// direction between regions as counters, over the intervals in which they were told; commits and evictions
/// as instants. Times and counts come from workers: what cannot be is left out.
package struct RunTrace {
    /// Told again and again while it lasts.
    private struct Wait {
        var observer: String
        var activity: String
        var since: Instant
        var names: [String]
        var start: Int64
        var end: Int64
    }

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
    private var waits: [Wait] = []
    private let workers: Int
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
        run.drawWaits()
        return run.trace.json
    }

    private init(_ topology: Topology, relays: Bool) {
        self.relays = relays
        regionNames = topology.regions.map(\.name)
        workers = topology.seats.count
        for seat in topology.seats {
            names[seat.id] = seat.worker.name
            regions.append(seat.region)
            trace.row(Int(seat.id.rawValue), name: seat.worker.name)
        }
    }

    private mutating func add(_ stamped: StampedEvent) {
        if case .runStarted = stamped.event {
            if isStarted, stamped.time.nanoseconds + offset < last { offset = last }
            isStarted = true
        }
        let now = stamped.time.nanoseconds + offset
        last = max(last, now)
        switch stamped.event {
        case .stepped(let id, let step, _, _, let at) where Int(id.rawValue) < workers:
            let end = at.flatMap { past($0, now) } ?? now
            let start = min(stepEnds[id] ?? end, end)
            trace.span("step \(step)", row: Int(id.rawValue), start: start, end: end)
            stepEnds[id] = end
        case .budget(let id, let budget): addBudget(id, budget, now)
        case .linkUse(let use) where relays:
            addLink(Direction(from: use.from, to: use.to), use.bytes, now)
        case .traffic(let id, let traffic) where !relays: addLanes(id, traffic, now)
        case .roundCommitted(let key, _, _, _) where key.scope == .pool:
            trace.instant("commit of round \(key.round), fragment \(key.fragment.index)", at: now)
        case .workerEvicted(let id, _, _):
            trace.instant("\(names[id] ?? "a worker") evicted", at: now)
        case .waiting(let observer, let activity, let waited, let since, _, _):
            addWait(observer, activity, waited, since, now)
        case .waited(let observer, let activity, let waited, let since, let until):
            addWait(observer, activity, waited, since, past(until, now) ?? now)
        default: break
        }
    }

    private mutating func addWait(
        _ observer: String, _ activity: String, _ waited: [String], _ since: Instant, _ now: Int64
    ) {
        if let told = waits.lastIndex(where: {
            $0.observer == observer && $0.activity == activity && $0.since == since
        }) {
            waits[told].end = now
            waits[told].names = waited
            return
        }
        waits.append(
            Wait(
                observer: observer, activity: activity, since: since, names: waited,
                start: past(since, now) ?? now, end: now))
    }

    /// Nil by another clock, or before this life of the coordinator.
    private func past(_ time: Instant, _ now: Int64) -> Int64? {
        let (start, overflow) = time.nanoseconds.addingReportingOverflow(offset)
        return !overflow && start >= 0 && start <= now ? start : nil
    }

    /// Spans of one row must not overlap: what an observer waits for besides begins after the other.
    private mutating func drawWaits() {
        var rows: [(observer: String, end: Int64)] = []
        for wait in waits.sorted(by: { $0.start < $1.start }) {
            var row = rows.firstIndex { $0.observer == wait.observer } ?? rows.count
            if row == rows.count {
                rows.append((wait.observer, 0))
                trace.row(workers + row, name: "\(wait.observer) waits")
            }
            let start = max(wait.start, rows[row].end)
            rows[row].end = max(rows[row].end, wait.end)
            guard wait.end > start else { continue }
            row += workers
            trace.span(
                "\(wait.activity) (\(wait.names.joined(separator: ", ")))", row: row,
                start: start, end: wait.end)
        }
    }

    private mutating func addBudget(_ id: WorkerID, _ budget: RunEvent.TimeBudget, _ now: Int64) {
        defer { budgets[id] = budget }
        // The first of a life: since its first step.
        let before = budgets[id].flatMap { budget.isRestart(after: $0) ? nil : $0 } ?? .zero
        let wall = budget.wall.seconds - before.wall.seconds
        guard wall > 0, wall <= Double(now) / 1e9, let name = names[id] else { return }
        func share(_ part: KeyPath<RunEvent.TimeBudget, Interval>) -> Double {
            (budget[keyPath: part].seconds - before[keyPath: part].seconds) / wall
        }
        trace.counter(
            "\(name): share of time", at: now - Int64(wall * 1e9),
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
