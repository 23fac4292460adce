package import ClusterModel

extension RunSummary {
    /// How experts were used: means over the replicas and over the second half of the steps that were
    /// reported.
    package struct Experts: Codable, Equatable, Sendable {
        /// Steps that the means are over.
        package var steps: Int
        package var blocks: [Block]
        /// Each reported step, mean over blocks and replicas.
        package var series: [Point]
        /// Shares over time, at most ``heatLimit`` steps of those reported.
        package var heat: [Heat]
        /// How alike regions use experts; empty with one region.
        package var overlap: [Overlap]
        /// What a round did to the loss; nil where rounds do not block or there were none.
        package var afterSync: AfterSync?
        /// Bytes between regions per token beside what other ways would send; nil with one region.
        package var traffic: Traffic?
        /// Where some experts belonged to one region; else nil.
        package var crossing: Crossing?

        /// Columns of a heat map.
        package static let heatLimit = 120

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
            package var useEntropy: Double
        }

        package struct Heat: Codable, Equatable, Sendable {
            package var step: UInt32
            package var regions: [Region]

            package struct Region: Codable, Equatable, Sendable {
                package var region: String
                /// Share of the choices, `[block][expert]`.
                package var blocks: [[Double]]
            }
        }

        package struct Overlap: Codable, Equatable, Sendable {
            package var step: UInt32
            /// Of the use of experts, in bits, 0 (alike) to 1; mean over blocks and pairs of regions.
            package var jensenShannon: Double
            /// Common / all of the top k most used experts of two regions.
            package var jaccard: Double
        }

        package struct AfterSync: Codable, Equatable, Sendable {
            package var rounds: Int
            /// Steps on each side that are averaged.
            package var steps: Int
            /// Training loss of the steps before a round's mean is applied, and of those after.
            package var before: Double
            package var after: Double
        }

        package struct Traffic: Codable, Equatable, Sendable {
            /// Lane bytes of all directions, contributions and means with their frames, per token.
            package var measured: Double
            /// Of the model's values, what a round has exchanged in the mean; nil: all, always.
            package var exchanged: Double?
            /// What averaging all experts in every round would have sent.
            package var plain: Double { measured / (exchanged ?? 1) }
            package var computed: ExpertTraffic
        }

        package var meanMaxViolation: Double { mean(\.maxViolation) }
        package var meanUseEntropy: Double { mean(\.useEntropy) }
        package var meanDropped: Double { mean(\.dropped) }

        private func mean(_ key: KeyPath<Block, Double>) -> Double {
            blocks.reduce(0) { $0 + $1[keyPath: key] } / Double(max(1, blocks.count))
        }
    }
}

extension SummaryBuilder {
    func expertFigures(
        _ start: RunEvent.RunStarted, _ curves: CurveBuilder, tokens: UInt64, laneBytes: UInt64
    ) -> RunSummary.Experts? {
        let configured = start.configuration.model.experts
        let schedule = start.configuration.schedule
        guard
            var figures = experts.figures(
                topK: configured?.topK ?? 1, areOneReplica: schedule.inner == .everyStep,
                regionName: { regionName($0) })
        else { return nil }
        // Only where the rounds of all come after the same steps.
        if schedule.outer == .diloco || schedule.outer == .localSGD, schedule.localSteps == .equal {
            figures.afterSync = curves.afterSync(every: schedule.syncEvery)
        }
        let regions = start.topology.regions
        guard let model = configured, regions.count > 1, tokens > 0 else { return figures }
        let tokenBytes = links.directions.filter { $0.from != $0.to }.reduce(UInt64(0)) {
            saturatingSum($0, links.laneCount($1).tokenBytes)
        }
        figures.crossing = crossing.figures(
            tokenBytes: tokenBytes, experts: model.count * start.configuration.model.layers,
            regionName: { regionName($0) })
        let perStep = regions.map { region in
            UInt64(region.workers.reduce(0) { $0 + $1.microBatch })
                * UInt64(start.configuration.model.context)
        }
        let measured = Double(laneBytes) / Double(tokens)
        let share = experts.exchangedShare(rounds: rounds.outerCount)
        let weights = Double(laneBytes - min(laneBytes, tokenBytes)) / Double(tokens)
        let inOneRound =
            weights / (share ?? 1) * Double(schedule.syncEvery) * Double(perStep.reduce(0, +))
        figures.traffic = RunSummary.Experts.Traffic(
            measured: measured, exchanged: share,
            computed: ExpertTraffic(
                model: start.configuration.model, experts: model, syncEvery: schedule.syncEvery,
                bytesPerRound: UInt64(max(0, inOneRound).rounded()), tokensPerStep: perStep,
                workers: regions.map(\.workers.count)))
        return figures
    }
}

extension CurveBuilder {
    /// Steps on each side of a round whose losses are compared: one step's loss is mostly its samples.
    private static let syncSteps: UInt32 = 3

    /// Means over the rounds that have so many steps on both sides.
    func afterSync(every: UInt32) -> RunSummary.Experts.AfterSync? {
        let losses = poolLosses
        guard every >= 2 * Self.syncSteps, let last = losses.keys.max() else { return nil }
        var (before, after, rounds) = (0.0, 0.0, 0)
        var round = every
        while round + Self.syncSteps <= last {
            let old = (round - Self.syncSteps + 1...round).compactMap { losses[$0] }
            let new = (round + 1...round + Self.syncSteps).compactMap { losses[$0] }
            if old.count == Int(Self.syncSteps), new.count == old.count {
                before += old.reduce(0, +) / Double(old.count)
                after += new.reduce(0, +) / Double(new.count)
                rounds += 1
            }
            round += every
        }
        guard rounds > 0 else { return nil }
        return RunSummary.Experts.AfterSync(
            rounds: rounds, steps: Int(Self.syncSteps), before: before / Double(rounds),
            after: after / Double(rounds))
    }
}
