internal import ClusterModel

/// Loss curves of the pool and of each region from the steps of the workers.
struct CurveBuilder {
    private struct Cell {
        var weightedLoss = 0.0
        var tokens: UInt64 = 0
        var seconds = 0.0

        mutating func add(_ step: WorkerTally.Step) {
            weightedLoss += step.loss * Double(step.tokens)
            tokens = saturatingSum(tokens, step.tokens)
            seconds = max(seconds, step.seconds)
        }
    }

    private var pool: [UInt32: Cell] = [:]
    private var regions: [RegionID: [UInt32: Cell]] = [:]
    /// Tokens of the pool up to and including each step.
    private let tokensUpTo: [UInt32: UInt64]

    init(_ workers: [WorkerTally]) {
        for worker in workers {
            for (number, step) in worker.steps {
                pool[number, default: Cell()].add(step)
                regions[worker.region, default: [:]][number, default: Cell()].add(step)
            }
        }
        var sum: UInt64 = 0
        var upTo: [UInt32: UInt64] = [:]
        for number in pool.keys.sorted() {
            sum = saturatingSum(sum, pool[number]?.tokens ?? 0)
            upTo[number] = sum
        }
        tokensUpTo = upTo
    }

    /// Token-weighted, by step.
    var poolLosses: [UInt32: Double] {
        pool.compactMapValues { $0.tokens > 0 ? $0.weightedLoss / Double($0.tokens) : nil }
    }

    func training(region: RegionID?, name: String?) -> RunSummary.Curve {
        let cells = region.map { regions[$0] ?? [:] } ?? pool
        let numbers = cells.keys.sorted()
        let stride = max(1, (numbers.count + RunSummary.pointLimit - 1) / RunSummary.pointLimit)
        var points: [RunSummary.Curve.Point] = []
        for start in Swift.stride(from: 0, to: numbers.count, by: stride) {
            var sum = Cell()
            let group = numbers[start..<min(start + stride, numbers.count)]
            for number in group {
                guard let cell = cells[number] else { continue }
                sum.weightedLoss += cell.weightedLoss
                sum.tokens = saturatingSum(sum.tokens, cell.tokens)
                sum.seconds = max(sum.seconds, cell.seconds)
            }
            guard let last = group.last, sum.tokens > 0 else { continue }
            points.append(
                .init(
                    step: last, tokens: tokensUpTo[last] ?? 0, seconds: sum.seconds,
                    loss: sum.weightedLoss / Double(sum.tokens)))
        }
        return RunSummary.Curve(region: name, stepsPerPoint: stride, points: points)
    }

    /// Sample-weighted mean of the workers that evaluated at the same step.
    func validation(_ workers: [WorkerTally], name: String?) -> RunSummary.Curve {
        var sums: [UInt32: (loss: Double, samples: Double, seconds: Double)] = [:]
        for worker in workers {
            for (step, evaluation) in worker.evaluations {
                var sum = sums[step] ?? (0, 0, 0)
                sum.loss += evaluation.loss * Double(evaluation.samples)
                sum.samples += Double(evaluation.samples)
                sum.seconds = max(sum.seconds, evaluation.seconds)
                sums[step] = sum
            }
        }
        let steps = sums.keys.sorted()
        let stride = max(1, (steps.count + RunSummary.pointLimit - 1) / RunSummary.pointLimit)
        let points = steps.enumerated().compactMap { index, step -> RunSummary.Curve.Point? in
            let isKept = index.isMultiple(of: stride) || index == steps.count - 1
            guard isKept, let sum = sums[step], sum.samples > 0 else { return nil }
            return .init(
                step: step, tokens: tokens(upTo: step), seconds: sum.seconds,
                loss: sum.loss / sum.samples)
        }
        return RunSummary.Curve(region: name, stepsPerPoint: 1, points: points)
    }

    private func tokens(upTo step: UInt32) -> UInt64 {
        tokensUpTo[step] ?? tokensUpTo.filter { $0.key <= step }.map(\.value).max() ?? 0
    }

    /// Token-weighted mean of the last ``RunSummary/finalLossSteps`` steps up to `lastStep`.
    static func finalLoss(_ workers: [WorkerTally], lastStep: UInt32) -> Double? {
        let count = UInt32(RunSummary.finalLossSteps)
        let first = lastStep > count ? lastStep - count + 1 : 1
        var sum = Cell()
        for worker in workers {
            // By number, not in the dictionary's order: sums of floating point depend on it.
            for number in first...max(first, lastStep) {
                if let step = worker.steps[number] { sum.add(step) }
            }
        }
        return sum.tokens > 0 ? sum.weightedLoss / Double(sum.tokens) : nil
    }
}
