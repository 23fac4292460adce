import ClusterFile
import ClusterModel
import Foundation
import RunRecord
import Simulation

/// Efficiency of a cluster file over link rates and distances, simulated: sizes travel, nothing is learnt.
struct MeasureSweep {
    struct Point: Codable {
        var bitsPerSecond: UInt64
        var distanceKilometres: Double
        var computeUtilisation: Double
        /// Tokens/s of the pool / sum of the regions alone, both simulated.
        var e1: Double
    }

    struct Threshold: Codable {
        /// Wanted.
        var e1: Double
        /// At that rate.
        var simulatedE1 = 0.0
        /// Lowest rate that reaches it at the file's distances; nil above 1 Tbit/s.
        var bitsPerSecond: UInt64?
    }

    /// A simulated point that was run too.
    struct RealPoint: Codable {
        var bitsPerSecond: UInt64
        var distanceKilometres: Double
        var simulatedE1: Double
        var e1: Double
        var computeUtilisation: Double?
        /// (simulated - real) / real.
        var error: Double
        var isContended: Bool
    }

    struct Report: Codable {
        /// Always: points are simulated; `realPoints` are runs of processes over the emulated links.
        var simulated = true
        var points: [Point] = []
        var thresholds: [Threshold] = []
        var realPoints: [RealPoint] = []
    }

    private let cluster: ClusterFile
    private let aloneRate: Double

    /// - Throws: `Failure` when a region alone cannot be simulated.
    init(_ cluster: ClusterFile) throws {
        self.cluster = cluster
        var sum = 0.0
        for region in cluster.topology.regions {
            var alone = cluster
            alone.topology = Topology(
                regions: [region], links: [], coordinatorRegion: RegionID(0))
            sum += try Self.rate(SimulatedRun(alone, training: .modelled).summary)
        }
        aloneRate = sum
    }

    private static func rate(_ summary: RunSummary) throws -> Double {
        guard summary.outcome.isComplete, let rate = summary.pool.tokensPerSecond else {
            throw Failure(
                .unavailable, "the simulated run did not end: \(summary.outcome.reason)")
        }
        return rate
    }

    /// All links at this rate; at this distance, if one is given, with the file's delay per kilometre (5 us
    /// where it gives none).
    func point(bitsPerSecond: UInt64, kilometres: Double?) throws -> Point {
        var changed = cluster
        changed.topology.setLinks(bitsPerSecond: bitsPerSecond)
        if let kilometres { changed.topology.setLinks(kilometres: kilometres) }
        let summary = try SimulatedRun(changed, training: .modelled).summary
        return Point(
            bitsPerSecond: bitsPerSecond,
            distanceKilometres: kilometres
                ?? changed.topology.links.map(\.distanceKilometres).max() ?? 0,
            computeUtilisation: summary.pool.computeUtilisation ?? 0,
            e1: try Self.rate(summary) / aloneRate)
    }

    /// By halving on a logarithmic scale, to two per cent.
    func lowestRate(e1 target: Double) throws -> UInt64? {
        var (low, high) = (1e4, 1e12)
        guard try point(bitsPerSecond: UInt64(high), kilometres: nil).e1 >= target else {
            return nil
        }
        while high / low > 1.02 {
            let middle = (low * high).squareRoot()
            if try point(bitsPerSecond: UInt64(middle), kilometres: nil).e1 >= target {
                high = middle
            } else {
                low = middle
            }
        }
        return UInt64(high)
    }

    func run(_ range: SweepRange) throws -> Report {
        var report = Report()
        for kilometres in range.distances {
            for rate in range.rates {
                report.points.append(try point(bitsPerSecond: rate, kilometres: kilometres))
            }
        }
        for target in [0.95, 0.99] {
            var threshold = Threshold(e1: target, bitsPerSecond: try lowestRate(e1: target))
            if let rate = threshold.bitsPerSecond {
                threshold.simulatedE1 = try point(bitsPerSecond: rate, kilometres: nil).e1
            }
            report.thresholds.append(threshold)
        }
        return report
    }

    private static func realText(_ report: Report) -> String {
        guard !report.realPoints.isEmpty else {
            return "no point is a real run; --real-points N adds some"
        }
        return TextTable.render(
            ["real runs", "distance", "E1 simulated", "E1 real", "error", "CU", ""],
            report.realPoints.map { point in
                [
                    Figures.bitRate(Double(point.bitsPerSecond)),
                    Figures.significant(point.distanceKilometres) + " km",
                    Figures.percent(point.simulatedE1), Figures.percent(point.e1),
                    Figures.percent(point.error),
                    point.computeUtilisation.map(Figures.percent) ?? Figures.absent,
                    point.isContended ? "contended" : "",
                ]
            })
    }

    /// What is run of a sweep: the thresholds first, then points evenly through the grid.
    static func choose(_ count: Int, of report: Report, kilometres: Double) -> [Point] {
        var chosen: [Point] = []
        for threshold in report.thresholds {
            guard let rate = threshold.bitsPerSecond else { continue }
            chosen.append(
                Point(
                    bitsPerSecond: rate, distanceKilometres: kilometres, computeUtilisation: 0,
                    e1: threshold.simulatedE1))
        }
        let rest = max(0, count - chosen.count)
        for index in 0..<rest where !report.points.isEmpty {
            chosen.append(report.points[(2 * index + 1) * report.points.count / (2 * rest)])
        }
        return Array(chosen.prefix(count))
    }

    static func text(_ report: Report, _ range: SweepRange, name: String) -> String {
        let rows = range.distances.map { kilometres in
            [Figures.significant(kilometres) + " km"]
                + range.rates.map { rate in
                    report.points.first {
                        $0.bitsPerSecond == rate && $0.distanceKilometres == kilometres
                    }.map { Figures.percent($0.e1) } ?? Figures.absent
                }
        }
        let header = ["E1"] + range.rates.map { Figures.bitRate(Double($0)) }
        let lowest = report.thresholds.map { threshold in
            let rate =
                threshold.bitsPerSecond.map { Figures.bitRate(Double($0)) } ?? "more than 1 Tbit/s"
            return "E1 >= \(Figures.percent(threshold.e1)) from \(rate)"
        }
        return """
            \(name): E1 by link rate and distance, simulated 

            \(TextTable.render(header, rows))

            at the file's distances: \(lowest.joined(separator: ", "))

            \(realText(report))
            """
    }
}

/// `rate=10..1000Mbit/s,distance=0..6000km`, or one of the two.
struct SweepRange {
    let rates: [UInt64]
    let distances: [Double]

    private static let rateCount = 7
    private static let distanceCount = 4
    /// In Mbit/s and km: those of --link-rate and --link-distance, with which points are run.
    private static let lowestRate = 0.001
    private static let longestDistance = 20_040.0

    /// - Throws: `Failure` that shows what is expected.
    init(_ text: String) throws {
        var rates: [UInt64] = []
        var distances: [Double] = []
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            guard pair.count == 2 else { throw Self.failure(text) }
            switch pair[0] {
            case "rate":
                let bounds = try Self.bounds(pair[1], unit: "Mbit/s", text)
                guard rates.isEmpty, bounds.low >= Self.lowestRate, bounds.high <= 1e6 else {
                    throw Self.failure(text)
                }
                let ratio = bounds.high / bounds.low
                rates = (0..<Self.rateCount).map {
                    let share = Double($0) / Double(Self.rateCount - 1)
                    return UInt64((bounds.low * pow(ratio, share) * 1e6).rounded())
                }
            case "distance":
                let bounds = try Self.bounds(pair[1], unit: "km", text)
                guard distances.isEmpty, bounds.high <= Self.longestDistance else {
                    throw Self.failure(text)
                }
                distances = (0..<Self.distanceCount).map {
                    let share = Double($0) / Double(Self.distanceCount - 1)
                    return bounds.low + (bounds.high - bounds.low) * share
                }
            default: throw Self.failure(text)
            }
        }
        guard !rates.isEmpty, !distances.isEmpty else { throw Self.failure(text) }
        self.rates = rates
        self.distances = distances
    }

    private static func bounds(
        _ text: String, unit: String, _ whole: String
    ) throws -> (low: Double, high: Double) {
        guard text.hasSuffix(unit) else { throw failure(whole) }
        let numbers = text.dropLast(unit.count).components(separatedBy: "..").map {
            Double($0.trimmingCharacters(in: .whitespaces))
        }
        guard numbers.count == 2, let low = numbers[0], let high = numbers[1], low.isFinite,
            (low...max(low, 1e9)).contains(high), low >= 0
        else { throw failure(whole) }
        return (low, high)
    }

    private static func failure(_ text: String) -> Failure {
        Failure(
            .usage, "--sweep '\(text)' is not a range of rates and distances",
            hint:
                "for example --sweep rate=10..1000Mbit/s,distance=0..6000km; each once, rates of 0.001 "
                + "to 1,000,000 Mbit/s, distances of 0 to 20,040 km")
    }
}
