internal import ClusterModel
import Foundation

extension RunSummary {
    /// How experts were used: means over the replicas and over the second half of the steps that were
    /// reported.
    package struct Experts: Codable, Equatable, Sendable {
        /// Steps that the means are over.
        package var steps: Int
        package var blocks: [Block]
        /// MaxVio of each reported step, mean over blocks and replicas.
        package var series: [Point]

        package struct Block: Codable, Equatable, Sendable {
            /// (highest load - mean load) / mean load of one step, mean over steps.
            package var maxViolation: Double
            /// Entropy of the shares of a step / log of the number of experts, mean over steps.
            package var useEntropy: Double
            /// Share of choices that found their expert full.
            package var dropped: Double
            /// Mean share of the choices, by expert.
            package var shares: [Double]
        }

        package struct Point: Codable, Equatable, Sendable {
            package var step: UInt32
            package var maxViolation: Double
        }

        package var meanMaxViolation: Double { mean(\.maxViolation) }
        package var meanUseEntropy: Double { mean(\.useEntropy) }
        package var meanDropped: Double { mean(\.dropped) }

        private func mean(_ key: KeyPath<Block, Double>) -> Double {
            blocks.reduce(0) { $0 + $1[keyPath: key] } / Double(max(1, blocks.count))
        }
    }
}

/// Reports of the use of experts, by step. Members of a replica report the same shares; each counts.
struct ExpertTally {
    private var steps: [UInt32: [WorkerID: [RunEvent.ExpertUse]]] = [:]

    mutating func add(_ use: [RunEvent.ExpertUse], by worker: WorkerID, step: UInt32) {
        guard !use.isEmpty, use.allSatisfy({ !$0.shares.isEmpty }) else { return }
        steps[step, default: [:]][worker] = use
    }

    /// Nil without experts.
    var figures: RunSummary.Experts? {
        let ordered = steps.sorted { $0.key < $1.key }
        guard let blocks = ordered.last?.value.values.map(\.count).min() else { return nil }
        let late = ordered.suffix((ordered.count + 1) / 2).flatMap {
            $0.value.sorted { $0.key < $1.key }
        }
        .map(\.value).filter { $0.count >= blocks }
        guard !late.isEmpty else { return nil }
        let points = ordered.map { step, reports in
            let all = reports.sorted { $0.key < $1.key }.flatMap(\.value)
            return RunSummary.Experts.Point(
                step: step,
                maxViolation: all.reduce(0) { $0 + Self.violation($1.shares) } / Double(all.count))
        }
        let stride = max(1, (points.count + RunSummary.pointLimit - 1) / RunSummary.pointLimit)
        return RunSummary.Experts(
            steps: (ordered.count + 1) / 2,
            blocks: (0..<blocks).map { index in block(late.map { $0[index] }) },
            series: points.enumerated().filter { $0.offset % stride == 0 }.map(\.element))
    }

    private func block(_ uses: [RunEvent.ExpertUse]) -> RunSummary.Experts.Block {
        let count = Double(uses.count)
        let experts = uses.map(\.shares.count).min() ?? 0
        return RunSummary.Experts.Block(
            maxViolation: uses.reduce(0) { $0 + Self.violation($1.shares) } / count,
            useEntropy: uses.reduce(0) { $0 + Self.entropy($1.shares) } / count,
            dropped: uses.reduce(0) { $0 + $1.dropped } / count,
            shares: (0..<experts).map { expert in
                uses.reduce(0) { $0 + $1.shares[expert] } / count
            })
    }

    private static func violation(_ shares: [Double]) -> Double {
        let mean = shares.reduce(0, +) / Double(shares.count)
        return mean > 0 ? ((shares.max() ?? 0) - mean) / mean : 0
    }

    private static func entropy(_ shares: [Double]) -> Double {
        guard shares.count > 1 else { return 1 }
        let nats = shares.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
        return nats / log(Double(shares.count))
    }
}
