/// tau of each replica under `overlap: auto`: the fewest inner steps in which the mean of any fragment is
/// there, by the rates, delays and step times of the cluster file.
///
/// What all have in common is when a mean is there: its owners need the contribution of every replica, so
/// the slowest direction between two regions counts for all (what crosses to a region that owns nothing
/// counts for that region alone). What is a replica's own is how many of its steps that is: it
/// blends a mean into its live parameters when it likes, while the outer copies of all stay equal. So a
/// replica with short steps, or with an H of its own, has a tau of its own.
///
/// A direction carries one fragment after the other, each from where it leaves (turn t after step
/// int(t H / P)); one that has not finished when the next leaves holds it up. Under `between: auto` the
/// choice is made for ``LinkCodec/start``: links then carry the most precise encoding whose transfer fits
/// into the tau found here.
package struct OverlapChoice: Equatable, Sendable {
    package struct Replica: Codable, Equatable, Sendable {
        /// A region, or a worker where each is a replica of its own.
        package var name: String
        package var overlap: UInt32
        /// H_r.
        package var syncEvery: UInt32
        package var stepSeconds: Double
        /// From a fragment's leaving to its mean's being here, for the fragment that takes longest; nil
        /// where a direction has more to carry than it has time for.
        package var meanSeconds: Double?
        /// Whether the mean is here within tau steps.
        package var fits: Bool
        /// For people: why.
        package var reason: String

        /// One line.
        package var text: String { "\(name): tau \(overlap) of \(syncEvery), \(reason)" }
    }

    package var replicas: [Replica]
    /// Of all values, the largest fragment's.
    package var largestShare: Double

    /// Nil unless the schedule asks for it.
    ///
    /// - Parameter values: elements of the model.
    package init?(_ configuration: RunConfiguration, _ topology: Topology, values: UInt64) {
        guard configuration.schedule.choosesOverlap == true else { return nil }
        let times = MeanTimes(configuration, topology, values: values)
        largestShare = times.shares.max() ?? 1
        let isOne = configuration.schedule.inner == .everyStep
        let seats = topology.seats
        let every = LocalSteps.perSeat(configuration.schedule, topology)
        let heads = seats.indices.filter { index in
            !isOne || index == seats.firstIndex { $0.region == seats[index].region }
        }
        replicas = heads.map { index in
            let seat = seats[index]
            let region = topology.regions[seat.region.index]
            return Self.replica(
                isOne ? region.name : seat.worker.name, every: every[index],
                step: isOne
                    ? region.workers.map(\.nominalStep.seconds).max() ?? 0
                    : seat.worker.nominalStep.seconds,
                times.mean(in: seat.region.index), commitSeconds: times.commitSeconds,
                fragments: times.shares.count)
        }
        seatReplicas = seats.map { seat in
            heads.firstIndex {
                isOne ? seats[$0].region == seat.region : seats[$0].id == seat.id
            } ?? 0
        }
    }

    /// By seat: the place in ``replicas``.
    private var seatReplicas: [Int]

    /// By seat.
    package var perSeat: [UInt32] { seatReplicas.map { replicas[$0].overlap } }

    /// One line for replicas that differ in their name only.
    package static func lines(_ replicas: [Replica]) -> [String] {
        var groups: [(names: [String], first: Replica)] = []
        for replica in replicas {
            var alike = replica
            if let place = groups.firstIndex(where: {
                alike.name = $0.first.name
                return $0.first == alike
            }) {
                groups[place].names.append(replica.name)
            } else {
                groups.append(([replica.name], replica))
            }
        }
        return groups.map { group in
            var line = group.first
            line.name = group.names.joined(separator: ", ")
            return line.text
        }
    }

    /// tau for another H of the same replica: as much time.
    package static func scaled(_ overlap: UInt32, from: UInt32, to every: UInt32) -> UInt32 {
        let scaled =
            (UInt64(overlap) * UInt64(every) + UInt64(max(1, from)) - 1)
            / UInt64(max(1, from))
        return min(max(1, UInt32(clamping: scaled)), max(1, every) - 1)
    }

    /// The time every mean has, in steps of the slowest replica.
    package var steps: Double {
        let slowest = replicas.map(\.stepSeconds).max() ?? 0
        return slowest > 0 ? hiddenSeconds / slowest : 0
    }

    /// The time every mean has.
    package var hiddenSeconds: Double {
        replicas.map { Double($0.overlap) * $0.stepSeconds }.min() ?? 0
    }

    private static func replica(
        _ name: String, every: UInt32, step: Double, _ mean: MeanTimes.Mean,
        commitSeconds: Double, fragments: Int
    ) -> Replica {
        // A fragment leaves again when the commit of its last round is known.
        let commit = UInt32(clamping: Int64(whole(commitSeconds, step)))
        let most = max(1, every - min(every - 1, max(1, commit)))
        let needed = mean.seconds.map { whole($0, step) }
        // Of a direction that is full a longer overlap hides nothing: enough that it never idles.
        let wanted = needed ?? (Double(every) / Double(fragments)).rounded(.up)
        let overlap = min(UInt32(min(max(1, wanted), Double(most))), every - 1)
        let fits = needed.map { $0 <= Double(overlap) } ?? false
        var reason: String
        if let seconds = mean.seconds {
            reason = "a mean is there after \(Figures.significant(seconds / max(step, 1e-9))) steps"
            reason +=
                mean.direction.map {
                    ": \($0) takes a fragment through in \(Figures.duration(mean.transferSeconds)), the way "
                        + "takes \(Figures.duration(seconds - mean.transferSeconds))"
                } ?? ": nothing crosses a link"
            if !fits {
                reason +=
                    "; more than \(overlap) would hold the fragment's next round back: steps wait"
            }
        } else {
            reason =
                "\(mean.direction ?? "a link") is full, a round takes it "
                + "\(Figures.duration(mean.transferSeconds)) and comes every "
                + "\(Figures.duration(mean.periodSeconds)): no overlap hides that, this one keeps it "
                + "busy"
        }
        return Replica(
            name: name, overlap: overlap, syncEvery: every, stepSeconds: step,
            meanSeconds: mean.seconds, fits: fits, reason: reason)
    }

    /// Steps that cover a time; what is a rounding error over a whole number is none.
    private static func whole(_ seconds: Double, _ step: Double) -> Double {
        step > 0 ? (seconds / step - 1e-9).rounded(.up) : 0
    }
}

/// When means are where.
private struct MeanTimes {
    struct Mean {
        /// Nil: a direction is full.
        var seconds: Double?
        /// Of the fragment, what it waits for earlier ones included; of a whole round where a direction is
        /// full.
        var transferSeconds = 0.0
        var periodSeconds = 0.0
        /// Where it takes so long; nil: only the way takes time.
        var direction: String?

        mutating func consider(_ transfer: Double, _ name: @autoclosure () -> String) {
            guard transfer > transferSeconds else { return }
            transferSeconds = transfer
            direction = name()
        }
    }

    private struct Direction {
        var from: Int
        var to: Int
        var name: String
        /// From leaving to having crossed, the longest of all fragments; nil: full.
        var seconds: Double?
        var roundSeconds: Double
        /// Of the largest fragment: the means among it, and those of the last chunk of each owner.
        var meanSeconds: Double
        var lastSeconds: Double
        /// Whether contributions are among what crosses, which all wait for.
        var concernsAll: Bool
    }

    /// Values of a full chunk: an owner sends its mean chunk by chunk, so what can be under way only when
    /// the last contribution is there is one chunk.
    private static let chunkValues = 65_536.0

    /// By fragment: of all values.
    let shares: [Double]
    /// A report to the coordinator and its commit back, the longest.
    let commitSeconds: Double
    private let directions: [Direction]
    private let period: Double
    /// By region: the longest way of a contribution to an owner and of the mean from there.
    private let ways: [Double]

    init(_ configuration: RunConfiguration, _ topology: Topology, values: UInt64) {
        let schedule = configuration.schedule
        let layout = FragmentLayout.ranges(
            of: configuration.model, elements: values, fragments: schedule.fragments)
        shares = layout.map { ranges in
            Double(ranges.reduce(UInt64(0)) { $0 + UInt64($1.count) }) / Double(max(1, values))
        }
        period =
            zip(topology.seats, LocalSteps.perSeat(schedule, topology)).map {
                $0.worker.nominalStep.seconds * Double($1)
            }.max() ?? 0
        let traffic = PoolTraffic(
            topology, crossesOnce: schedule.crossesOnce, values: Double(values))
        let encoding =
            configuration.wire.choosesBetween == true
            ? LinkCodec.start : configuration.wire.betweenRegions
        directions = Self.directions(
            topology, traffic, bytesPerValue: encoding.storedBytesPerValue, shares: shares,
            period: period)
        let regions = topology.regions.indices
        func way(_ from: Int, _ to: Int) -> Double {
            guard from != to, let link = topology.link(between: RegionID(from), and: RegionID(to))
            else { return 0 }
            return Double(link.parameters(from: RegionID(from)).oneWayNanoseconds) / 1e9
        }
        ways = regions.map { region in
            regions.filter { traffic.shares[$0] > 0 }.map { owner in
                (regions.map { way($0, owner) }.max() ?? 0) + way(owner, region)
            }.max() ?? 0
        }
        let home = topology.coordinatorRegion.index
        commitSeconds =
            (regions.map { way($0, home) }.max() ?? 0) + (regions.map { way(home, $0) }.max() ?? 0)
    }

    private static func directions(
        _ topology: Topology, _ traffic: PoolTraffic, bytesPerValue: Double, shares: [Double],
        period: Double
    ) -> [Direction] {
        let largest = shares.max() ?? 1
        var directions: [Direction] = []
        for from in topology.regions.indices {
            for to in topology.regions.indices where to != from {
                guard let link = topology.link(between: RegionID(from), and: RegionID(to)) else {
                    continue
                }
                let rate = link.parameters(from: RegionID(from)).bitsPerSecond
                func seconds(_ values: Double) -> Double {
                    rate > 0 ? values * bytesPerValue * 8 / Double(rate) : 0
                }
                let round = seconds(traffic.values(from: from, to: to))
                let means = traffic.means(from: from, to: to) * largest
                let last = Double(topology.regions[from].workers.count) * chunkValues
                directions.append(
                    Direction(
                        from: from, to: to,
                        name: "\(topology.regions[from].name) -> \(topology.regions[to].name)",
                        seconds: longest(shares.map { $0 * round }, period: period),
                        roundSeconds: round, meanSeconds: seconds(means),
                        lastSeconds: seconds(min(means, last)),
                        concernsAll: traffic.shares[to] > 0))
            }
        }
        return directions
    }

    /// The longest time from leaving to having crossed when fragments follow each other; two periods show
    /// it, since after a period the direction is free again. Nil if it is not.
    private static func longest(_ transfers: [Double], period: Double) -> Double? {
        guard transfers.reduce(0, +) <= period else { return nil }
        let count = transfers.count
        var free = 0.0
        var longest = 0.0
        for turn in 1...2 * count {
            let leaves = period * Double(turn) / Double(count)
            free = max(free, leaves) + transfers[turn % count]
            longest = max(longest, free - leaves)
        }
        return longest
    }

    func mean(in region: Int) -> Mean {
        let here = directions.filter { $0.concernsAll || $0.to == region }
        var mean = Mean(periodSeconds: period)
        guard here.allSatisfy({ $0.seconds != nil }) else {
            for direction in here { mean.consider(direction.roundSeconds, direction.name) }
            return mean
        }
        for direction in here {
            let seconds = direction.seconds ?? 0
            mean.consider(seconds, direction.name)
            guard direction.concernsAll, direction.to != region,
                let back = directions.first(where: {
                    $0.from == direction.to && $0.to == region
                })
            else { continue }
            mean.consider(
                seconds - direction.meanSeconds + back.lastSeconds,
                "\(direction.name) -> \(back.name.split(separator: " ").last ?? "")")
        }
        mean.seconds = mean.transferSeconds + ways[region]
        return mean
    }
}
