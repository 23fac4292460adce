internal import ClusterModel
import Foundation

/// Reports of the use of experts, by step and region. Members of a replica report the same shares; where a
/// region has several replicas its shares are their mean.
struct ExpertTally {
    private struct Report {
        var region: RegionID
        var use: [RunEvent.ExpertUse]
    }

    private var steps: [UInt32: [WorkerID: Report]] = [:]
    /// Rounds under plans that leave experts out: how many, and the shares of the model's values they
    /// exchanged.
    private var exchanged: (rounds: Int, shares: Double) = (0, 0)

    mutating func add(
        _ use: [RunEvent.ExpertUse], by worker: WorkerID, in region: RegionID, step: UInt32
    ) {
        guard !use.isEmpty, use.allSatisfy({ !$0.shares.isEmpty }) else { return }
        steps[step, default: [:]][worker] = Report(region: region, use: use)
    }

    mutating func add(exchanged elements: UInt64, of all: UInt64) {
        guard all > 0 else { return }
        exchanged.rounds += 1
        exchanged.shares += Double(elements) / Double(all)
    }

    /// Of the model's values, what a round has exchanged in the mean; nil where no plan leaves experts out.
    func exchangedShare(rounds: Int) -> Double? {
        guard exchanged.rounds > 0 else { return nil }
        let whole = max(0, rounds - exchanged.rounds)
        return (exchanged.shares + Double(whole)) / Double(whole + exchanged.rounds)
    }

    /// Nil without experts.
    ///
    /// - Parameters:
    ///   - topK: experts a token uses.
    ///   - areOneReplica: the workers of a region step together.
    ///   - regionName: of every region that reported.
    func figures(
        topK: Int, areOneReplica: Bool, regionName: (RegionID) -> String
    ) -> RunSummary.Experts? {
        let ordered = steps.sorted { $0.key < $1.key }
        guard let blocks = ordered.last?.value.values.map(\.use.count).min() else { return nil }
        let late = ordered.suffix((ordered.count + 1) / 2).flatMap {
            Self.weighted($0.value, areOneReplica).filter { $0.use.count >= blocks }
        }
        guard !late.isEmpty else { return nil }
        let points = ordered.map { step, reports in
            let all = Self.weighted(reports, areOneReplica).flatMap { report in
                report.use.map { (use: $0, weight: report.weight) }
            }
            return RunSummary.Experts.Point(
                step: step, maxViolation: Self.mean(all) { Self.violation($0.shares) },
                useEntropy: Self.mean(all) { Self.entropy($0.shares) })
        }
        let columns = ordered.map { step, reports in
            heat(step, reports, blocks: blocks, regionName: regionName)
        }.filter { !$0.regions.isEmpty }
        return RunSummary.Experts(
            steps: (ordered.count + 1) / 2,
            blocks: (0..<blocks).map { index in
                block(late.map { (use: $0.use[index], weight: $0.weight) })
            },
            series: Self.thinned(points, to: RunSummary.pointLimit),
            heat: Self.thinned(columns, to: RunSummary.Experts.heatLimit),
            overlap: Self.thinned(columns, to: RunSummary.pointLimit)
                .compactMap { Self.overlap($0, topK: topK) })
    }

    /// By worker; what the members of a replica say counts once, however many they are.
    private static func weighted(
        _ reports: [WorkerID: Report], _ areOneReplica: Bool
    ) -> [(use: [RunEvent.ExpertUse], weight: Double)] {
        reports.sorted { $0.key < $1.key }.map(\.value).map { report in
            let members =
                areOneReplica ? reports.values.count { $0.region == report.region } : 1
            return (report.use, 1 / Double(members))
        }
    }

    private static func mean(
        _ uses: [(use: RunEvent.ExpertUse, weight: Double)],
        of value: (RunEvent.ExpertUse) -> Double
    ) -> Double {
        uses.reduce(0) { $0 + $1.weight * value($1.use) } / uses.reduce(0) { $0 + $1.weight }
    }

    private static func thinned<T>(_ values: [T], to limit: Int) -> [T] {
        let stride = max(1, (values.count + limit - 1) / limit)
        return values.enumerated().filter { $0.offset % stride == 0 }.map(\.element)
    }

    private func heat(
        _ step: UInt32, _ reports: [WorkerID: Report], blocks: Int,
        regionName: (RegionID) -> String
    ) -> RunSummary.Experts.Heat {
        let whole = reports.sorted { $0.key < $1.key }.map(\.value)
            .filter { $0.use.count >= blocks }
        let regions = Set(whole.map(\.region)).sorted()
        return RunSummary.Experts.Heat(
            step: step,
            regions: regions.map { region in
                let own = whole.filter { $0.region == region }
                return .init(
                    region: regionName(region),
                    blocks: (0..<blocks).map { index in
                        Self.mean(own.map { $0.use[index].shares })
                    })
            })
    }

    private static func mean(_ shares: [[Double]]) -> [Double] {
        (0..<(shares.map(\.count).min() ?? 0)).map { expert in
            shares.reduce(0) { $0 + $1[expert] } / Double(shares.count)
        }
    }

    private func block(
        _ uses: [(use: RunEvent.ExpertUse, weight: Double)]
    ) -> RunSummary.Experts.Block {
        let experts = uses.map(\.use.shares.count).min() ?? 0
        return RunSummary.Experts.Block(
            maxViolation: Self.mean(uses) { Self.violation($0.shares) },
            useEntropy: Self.mean(uses) { Self.entropy($0.shares) },
            dropped: Self.mean(uses, of: \.dropped),
            shares: (0..<experts).map { expert in Self.mean(uses) { $0.shares[expert] } })
    }

    private static func violation(_ shares: [Double]) -> Double {
        let mean = shares.reduce(0, +) / Double(shares.count)
        return mean > 0 ? ((shares.max() ?? 0) - mean) / mean : 0
    }

    private static func entropy(_ shares: [Double]) -> Double {
        guard shares.count > 1 else { return 1 }
        return nats(shares) / log(Double(shares.count))
    }

    private static func nats(_ shares: [Double]) -> Double {
        shares.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
    }

    // MARK: Regions beside each other

    /// Means over blocks and pairs of regions; nil with one region.
    private static func overlap(
        _ heat: RunSummary.Experts.Heat, topK: Int
    ) -> RunSummary.Experts.Overlap? {
        var (divergence, common, pairs) = (0.0, 0.0, 0.0)
        for (index, a) in heat.regions.enumerated() {
            for b in heat.regions[(index + 1)...] {
                for (p, q) in zip(a.blocks, b.blocks) where p.count == q.count {
                    let middle = zip(p, q).map { ($0 + $1) / 2 }
                    divergence += max(0, nats(middle) - (nats(p) + nats(q)) / 2) / log(2)
                    let (first, second) = (mostUsed(p, topK), mostUsed(q, topK))
                    common +=
                        Double(first.intersection(second).count)
                        / Double(first.union(second).count)
                    pairs += 1
                }
            }
        }
        guard pairs > 0 else { return nil }
        return RunSummary.Experts.Overlap(
            step: heat.step, jensenShannon: divergence / pairs, jaccard: common / pairs)
    }

    private static func mostUsed(_ shares: [Double], _ count: Int) -> Set<Int> {
        let ranked = shares.indices.sorted {
            shares[$0] != shares[$1] ? shares[$0] > shares[$1] : $0 < $1
        }
        return Set(ranked.prefix(max(1, count)))
    }
}
