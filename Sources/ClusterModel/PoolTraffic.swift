/// Values that cross from region to region in one round of the whole model.
///
/// Of the model's N values the workers of region r own the share f_r: equal parts per worker, unless
/// unlike links make others faster (``OwnerShares``). A region r that contributes k_r times (once, but
/// where sets of single replicas are closed once per worker) sends to region s its contributions to what s
/// owns, k_r N f_s values, and the means of the values it owns itself, k_s N f_r.
package struct PoolTraffic: Equatable, Sendable {
    private let whole: Double
    private let replicas: [Int]
    /// Of all values, by region.
    package let shares: [Double]

    /// - Parameter members: workers that take part, by region; nil: all of the topology's.
    package init(
        _ topology: Topology, members: [Int]? = nil, crossesOnce: Bool, values: Double
    ) {
        whole = values
        let members = members ?? topology.regions.map(\.workers.count)
        replicas = members.map { crossesOnce ? min(1, $0) : $0 }
        let weights = topology.ownerWeights(members: members, crossesOnce: crossesOnce)
        let owned = zip(members, weights).map { Double($0) * Double($1) }
        let all = owned.reduce(0, +)
        // All weights 0: equal slices.
        let count = Double(max(1, members.reduce(0, +)))
        shares = all > 0 ? owned.map { $0 / all } : members.map { Double($0) / count }
    }

    package func values(from: Int, to: Int) -> Double {
        whole * Double(replicas[from]) * shares[to] + means(from: from, to: to)
    }

    /// The means among them.
    package func means(from: Int, to: Int) -> Double {
        whole * Double(replicas[to]) * shares[from]
    }
}

/// The time a transfer between regions may take, by schedule.
package struct LinkTime: Equatable, Sendable {
    /// Seconds per departure.
    package let available: Double
    /// Values of a round / values of a departure.
    package let departures: Double

    /// Under overlap a fragment has its tau steps, and the next one's turn as well; a schedule that
    /// blocks may lose ``LinkCodec/blockingShare`` of the time between two rounds.
    ///
    /// - Parameters:
    ///   - step: seconds of an inner step of the slowest replica.
    ///   - overlap: where tau is chosen; it has time for the largest fragment, which then counts.
    package init(
        _ schedule: RunConfiguration.Schedule, step: Double, overlap: OverlapChoice? = nil
    ) {
        departures = overlap.map { 1 / $0.largestShare } ?? Double(max(1, schedule.fragments))
        let between = Double(schedule.syncEvery) * step
        let hidden = overlap?.steps ?? Double(schedule.overlap)
        available =
            hidden > 0
            ? min(hidden * step, between / Double(max(1, schedule.fragments)))
            : LinkCodec.blockingShare * between
    }

    /// Of the slowest worker; nil where one is not paced.
    package static func step(_ topology: Topology) -> Double? {
        let steps = topology.seats.map(\.worker.nominalStep.seconds)
        guard let longest = steps.max(), steps.allSatisfy({ $0 > 0 }) else { return nil }
        return longest
    }
}
