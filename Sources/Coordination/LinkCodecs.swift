import ClusterModel
import WireProtocol

/// Which transform each directed pair of regions sends with under `between: auto`: chosen from the
/// cluster file's rates at the start, from measured ones afterwards, with hysteresis. Means of a region's
/// slices cross all links that leave it in one encoding: that of the slowest.
///
/// A link's rate is what its senders' reports say: bytes acknowledged since the last report, over the
/// longest time for which any of them kept it busy. Senders that take turns make a link look faster than
/// it is (by a quarter among two), processes that are starved of cores make it look slower.
struct LinkCodecs: Equatable, Sendable {
    /// One directed pair of regions.
    private struct Pair: Equatable, Sendable {
        var bytes: UInt64 = 0
        /// The longest of the senders'.
        var busy = Interval.zero
        /// Bits per second; nil before anything was measured.
        var rate: Double?
        var transform: TransformID
        /// Commits in a row after which something more precise would have fitted easily.
        var easy = 0
    }

    /// A choice that differs from the one in force.
    struct Change: Equatable, Sendable {
        var from: RegionID
        var to: RegionID
        var transform: TransformID
    }

    private let regions: Int
    private let names: [String]
    private let schedule: RunConfiguration.Schedule
    /// Where the plan chooses tau.
    private let overlap: OverlapChoice?
    private let roundTrips: [Interval]
    private let fallback: TransformID
    private let isChoosing: Bool
    private var pairs: [Pair]

    init(_ configuration: RunConfiguration, _ topology: Topology, values: UInt64) {
        regions = topology.regions.count
        names = topology.regions.map(\.name)
        schedule = configuration.schedule
        fallback = configuration.wire.betweenRegions
        overlap = OverlapChoice(configuration, topology, values: values)
        isChoosing = configuration.wire.choosesBetween == true && regions > 1
        pairs = Array(repeating: Pair(transform: fallback), count: regions * regions)
        var roundTrips: [Interval] = []
        for from in 0..<regions {
            for to in 0..<regions {
                let link = topology.link(between: RegionID(from), and: RegionID(to))
                let there = link?.parameters(from: RegionID(from)).oneWayNanoseconds ?? 0
                let back = link?.parameters(from: RegionID(to)).oneWayNanoseconds ?? 0
                roundTrips.append(Interval(nanoseconds: there + back))
            }
        }
        self.roundTrips = roundTrips
        guard isChoosing else { return }
        let traffic = PoolTraffic(
            topology, crossesOnce: schedule.crossesOnce, values: Double(values))
        let step = LinkTime.step(topology)
        for from in 0..<regions {
            for to in 0..<regions where to != from {
                guard let link = topology.link(between: RegionID(from), and: RegionID(to)), let step
                else { continue }
                pairs[from * regions + to].transform =
                    codec(
                        from, to, traffic,
                        rate: link.parameters(from: RegionID(from)).bitsPerSecond,
                        step: step
                    ).transform
            }
        }
    }

    private func codec(
        _ from: Int, _ to: Int, _ traffic: PoolTraffic, rate: UInt64, step: Double,
        most: TransformID = .fp32
    ) -> LinkCodec {
        let time = LinkTime(schedule, step: step, overlap: overlap)
        return LinkCodec(
            values: traffic.values(from: from, to: to) / time.departures, bitsPerSecond: rate,
            roundTripSeconds: roundTrips[from * regions + to].seconds, available: time.available,
            most: most)
    }

    // MARK: What plans say

    /// Of a plan whose other exchanges use the configured transform; empty without `between: auto`.
    var planned: [PlanCodec] {
        guard isChoosing else { return [] }
        var codecs: [PlanCodec] = []
        for from in 0..<regions {
            for to in 0..<regions {
                let transform = from == to ? means(of: from) : pairs[from * regions + to].transform
                guard transform != fallback else { continue }
                codecs.append(
                    PlanCodec(from: RegionID(from), to: RegionID(to), transform: transform))
            }
        }
        return codecs
    }

    /// Of what leaves one region for another under the next boundary plan.
    func transform(from: Int, to: Int) -> TransformID {
        isChoosing ? pairs[from * regions + to].transform : fallback
    }

    /// The smallest of what leaves the region.
    private func means(of region: Int) -> TransformID {
        let order = LinkCodec.candidates
        let places = (0..<regions).filter { $0 != region }.compactMap {
            order.firstIndex(of: pairs[region * regions + $0].transform)
        }
        return places.max().map { order[$0] } ?? fallback
    }

    // MARK: Measuring

    mutating func note(_ region: RegionID, _ links: [Report.LinkMeter]) {
        guard isChoosing else { return }
        for link in links where link.region.index < regions && link.region != region {
            let index = region.index * regions + link.region.index
            pairs[index].bytes = saturatingSum(pairs[index].bytes, link.acknowledgedBytes)
            pairs[index].busy = max(pairs[index].busy, link.busyTime)
        }
    }

    /// A commit: what came since the last one makes new rates.
    private mutating func settle() {
        for index in pairs.indices where pairs[index].busy > .zero {
            let rate = Double(pairs[index].bytes) * 8 / pairs[index].busy.seconds
            pairs[index].rate = min(rate, CoordinationLimits.rateMost)
            pairs[index].bytes = 0
            pairs[index].busy = .zero
        }
    }

    /// What the links' rates ask for now, with reasons for people; nothing where the present choice
    /// still does. Called once a commit.
    ///
    /// - Parameter step: seconds of an inner step of the slowest.
    mutating func changes(
        _ traffic: PoolTraffic, step: Double
    ) -> (changes: [Change], reason: String)? {
        guard isChoosing, step > 0 else { return nil }
        settle()
        var changes: [Change] = []
        var reasons: [String] = []
        for from in 0..<regions {
            for to in 0..<regions where to != from {
                guard let change = change(from, to, traffic, step: step) else { continue }
                changes.append(change.0)
                reasons.append(change.because)
            }
        }
        return changes.isEmpty ? nil : (changes, reasons.joined(separator: "; "))
    }

    private mutating func change(
        _ from: Int, _ to: Int, _ traffic: PoolTraffic, step: Double
    ) -> (Change, because: String)? {
        let index = from * regions + to
        let pair = pairs[index]
        guard let rate = pair.rate, rate >= 1 else { return nil }
        let present = codec(
            from, to, traffic, rate: UInt64(rate), step: step, most: pair.transform)
        let wanted = codec(from, to, traffic, rate: UInt64(rate), step: step)
        let order = LinkCodec.candidates
        let (now, next) = (
            order.firstIndex(of: pair.transform) ?? 0, order.firstIndex(of: wanted.transform) ?? 0
        )
        var chosen: TransformID?
        if present.transform != pair.transform {
            // The present one does not fit any more.
            pairs[index].easy = 0
            let generous = UInt64(rate * CoordinationLimits.codecMargin)
            let isClear =
                codec(from, to, traffic, rate: generous, step: step, most: pair.transform)
                .transform != pair.transform
            chosen = isClear ? present.transform : nil
        } else if next < now {
            let careful = codec(
                from, to, traffic, rate: UInt64(max(1, rate * CoordinationLimits.codecCaution)),
                step: step)
            let place = order.firstIndex(of: careful.transform) ?? now
            pairs[index].easy = place < now ? pair.easy + 1 : 0
            if pairs[index].easy >= CoordinationLimits.codecPatience { chosen = careful.transform }
        } else {
            pairs[index].easy = 0
        }
        guard let chosen, chosen != pair.transform else { return nil }
        let text =
            "\(names[from])-\(names[to]): \(pair.transform.name) -> \(chosen.name), because the link "
            + "carries \(Figures.bitRate(rate)), the "
            + (schedule.overlap > 0 ? "overlap" : "round") + " has "
            + Figures.duration(present.availableSeconds)
        return (Change(from: RegionID(from), to: RegionID(to), transform: chosen), text)
    }

    /// What the plan in force says.
    mutating func adopt(_ codecs: [PlanCodec]) {
        guard isChoosing else { return }
        for from in 0..<regions {
            for to in 0..<regions where to != from {
                pairs[from * regions + to].transform =
                    codecs.first { $0.from == RegionID(from) && $0.to == RegionID(to) }?.transform
                    ?? fallback
            }
        }
    }

    /// Of the next boundary plan.
    mutating func adopt(_ changes: [Change]) {
        for change in changes {
            let index = change.from.index * regions + change.to.index
            pairs[index].transform = change.transform
            pairs[index].easy = 0
        }
    }
}
