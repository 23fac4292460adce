import ClusterFile
import ClusterModel
import Coordination
import RunRecord
import Simulation

/// What a real run tells about the machine it ran on: how long a step and its exchange inside the region
/// take. Rounds, waits and links are not measured here; they are what a simulation predicts.
struct StepCalibration {
    /// Computing one step, by seat; pacing included.
    let computeSeconds: [Double]
    /// From one applied step to the next where no round lies between: the mean over the workers that
    /// share steps with others; nil if there are none, or if every step is a round.
    let stepInterval: Double?
    /// Bytes per second of encoding and of decoding and applying, over all workers.
    let encodeRate: Double?
    let absorbRate: Double?

    /// - Parameters:
    ///   - events: the log of a run of `cluster` without joins and losses.
    init(_ cluster: ClusterFile, _ summary: RunSummary, events: [StampedEvent]) throws {
        computeSeconds = try summary.workers.map { worker in
            guard let budget = worker.budget, worker.lastStep > 0 else {
                throw Failure(.data, "no time budget of '\(worker.name)' in the record")
            }
            return budget.computeSeconds / Double(worker.lastStep)
        }
        stepInterval = Self.interval(cluster, events)
        (encodeRate, absorbRate) = Self.rates(cluster, summary)
    }

    /// A worker encodes its gradient in every shared step and its part of the replica's outer gradient in
    /// every round, and takes in as many means; where every step is one collective, one of each. The leader
    /// of a replica evaluates on the side, which is booked as applying too: the least of all workers' times
    /// counts.
    private static func rates(
        _ cluster: ClusterFile, _ summary: RunSummary
    ) -> (encode: Double?, absorb: Double?) {
        let schedule = cluster.configuration.schedule
        let bytes = 4 * Double(cluster.configuration.model.parameterCount)
        let every = schedule.outer == .everyStep ? 1 : Double(max(1, schedule.syncEvery))
        var encode: [Double] = []
        var absorb: [Double] = []
        for (worker, seat) in zip(summary.workers, cluster.topology.seats) {
            guard let budget = worker.budget, worker.lastStep > 0 else { continue }
            let steps = Double(worker.lastStep)
            let peers = cluster.topology.regions[seat.region.index].workers.count
            let shares = schedule.inner == .everyStep && peers > 1
            let isOne = schedule.isOneCollective
            let ofReplica = steps / every / (schedule.inner == .everyStep ? Double(peers) : 1)
            let encoded = (shares ? steps : 0) + (isOne && shares ? 0 : ofReplica)
            if budget.encodeSeconds > 0 { encode.append(bytes * encoded / budget.encodeSeconds) }
            let seconds = budget.decodeSeconds + budget.applySeconds
            let absorbed = isOne ? steps : steps + steps / every
            if seconds > 0 { absorb.append(bytes * absorbed / seconds) }
        }
        let mean = encode.isEmpty ? nil : encode.reduce(0, +) / Double(encode.count)
        return (mean, absorb.max())
    }

    /// Mean time between two steps of a worker that lie in one round, without those that an evaluation
    /// follows, and those that wait for tokens of other regions.
    static func interval(_ cluster: ClusterFile, _ events: [StampedEvent]) -> Double? {
        let schedule = cluster.configuration.schedule
        guard schedule.inner == .everyStep, schedule.outer != .everyStep else { return nil }
        let sharing = cluster.topology.regions.flatMap { region in
            Array(repeating: region.workers.count > 1, count: region.workers.count)
        }
        let evaluation = cluster.configuration.training.evaluateEvery
        let crossing = events.firstIndex {
            if case .expertOwners(let owners) = $0.event { !owners.budgets.isEmpty } else { false }
        }
        var last: [UInt32: (step: UInt32, time: Int64)] = [:]
        var sum = 0.0
        var count = 0
        for stamped in events[..<(crossing ?? events.endIndex)] {
            guard case .stepped(let worker, let step, _, _, let at) = stamped.event,
                sharing[Int(worker.rawValue)]
            else { continue }
            let now = (at ?? stamped.time).nanoseconds
            defer { last[worker.rawValue] = (step, now) }
            guard let before = last[worker.rawValue], step == before.step + 1,
                before.step % schedule.syncEvery != 0,
                evaluation == 0 || before.step % evaluation != 0
            else { continue }
            sum += Double(now - before.time) / 1e9
            count += 1
        }
        return count > 0 ? sum / Double(count) : nil
    }

    /// The cluster with measured step times.
    func paced(_ cluster: ClusterFile) -> ClusterFile {
        var cluster = cluster
        var seat = 0
        for region in cluster.topology.regions.indices {
            for worker in cluster.topology.regions[region].workers.indices {
                cluster.topology.regions[region].workers[worker].nominalStep = Interval(
                    seconds: computeSeconds[seat])
                seat += 1
            }
        }
        return cluster
    }

    func apply(to options: inout SimulationOptions) {
        if let encodeRate { options.cost.encodeRate = encodeRate }
        if let absorbRate { options.cost.absorbRate = absorbRate }
    }

    /// The rate inside a region at which simulated steps take as long as measured ones, in bits per
    /// second: it stands for the loopback, encryption, and processes that share cores. By halving on a
    /// logarithmic scale, to one part in a hundred.
    func localRate(_ cluster: ClusterFile) throws -> UInt64? {
        guard let stepInterval else { return nil }
        var short = paced(cluster)
        short.configuration.steps = min(
            short.configuration.steps, short.configuration.schedule.syncEvery)
        return try fit(short, to: stepInterval) { Self.interval(short, $0) }
    }

    /// The same from a run of one region by itself, where the pool's steps are all rounds.
    func localRate(_ alone: ClusterFile, events: [StampedEvent]) throws -> UInt64? {
        guard let measured = Self.stepToStep(events) else { return nil }
        return try fit(paced(alone), to: measured) { Self.stepToStep($0) }
    }

    /// Mean time from one step of a worker to its next, without the first ones, which touch memory for
    /// the first time.
    private static func stepToStep(_ events: [StampedEvent]) -> Double? {
        var last: [UInt32: Int64] = [:]
        var sum = 0.0
        var count = 0
        for stamped in events {
            guard case .stepped(let worker, let step, _, _, let at) = stamped.event, step > 2 else {
                continue
            }
            let now = (at ?? stamped.time).nanoseconds
            if let before = last[worker.rawValue] {
                sum += Double(now - before) / 1e9
                count += 1
            }
            last[worker.rawValue] = now
        }
        return count > 0 ? sum / Double(count) : nil
    }

    private func fit(
        _ cluster: ClusterFile, to wanted: Double, _ interval: ([StampedEvent]) -> Double?
    ) throws -> UInt64? {
        var (low, high) = (1e6, 1e11)
        while high / low > 1.01 {
            let rate = (low * high).squareRoot()
            let run = try SimulatedRun(
                cluster, training: .modelled,
                adjust: {
                    apply(to: &$0)
                    $0.localRate = UInt64(rate)
                })
            guard let simulated = interval(run.result.events) else { return nil }
            if simulated > wanted { low = rate } else { high = rate }
        }
        // At an end of the search nothing was found: steps take longer, or less, than any rate explains.
        return high < 0.9e11 && low > 1.1e6 ? UInt64(high) : nil
    }
}
