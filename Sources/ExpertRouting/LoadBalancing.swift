/// How unevenly experts are used.
package struct ExpertLoads: Equatable, Sendable {
    /// Tokens by expert; sums over unequal workers and regions are exact.
    package private(set) var tokens: [UInt64]

    package init(experts: Int) { tokens = Array(repeating: 0, count: experts) }
    package init(tokens: [UInt64]) { self.tokens = tokens }

    package mutating func add(_ routing: ExpertGate.Routing) {
        for choice in routing.choices { tokens[choice.expert] += 1 }
    }

    package mutating func merge(_ other: ExpertLoads) {
        precondition(tokens.count == other.tokens.count, "loads of other experts")
        for index in tokens.indices { tokens[index] += other.tokens[index] }
    }

    package var mean: Double {
        Double(tokens.reduce(0, +)) / Double(max(1, tokens.count))
    }

    /// MaxVio = (highest load - mean) / mean (Wang et al. 2024, arXiv 2408.15664); 0 without tokens.
    package var maxViolation: Double {
        let mean = mean
        return mean > 0 ? (Double(tokens.max() ?? 0) - mean) / mean : 0
    }

    /// Shares of all tokens; equal shares without tokens.
    package var shares: [Double] {
        let total = Double(tokens.reduce(0, +))
        guard total > 0 else { return tokens.map { _ in 1 / Double(max(1, tokens.count)) } }
        return tokens.map { Double($0) / total }
    }
}

/// Balancing without an auxiliary loss (Wang et al. 2024, arXiv 2408.15664; DeepSeek-V3 section 2.1.2):
/// after each step the bias of an expert below the mean load rises by a fixed rate, above it falls.
package struct BiasBalancer: Equatable, Sendable {
    package let rate: Float
    package private(set) var bias: [Float]

    package init(experts: Int, rate: Float = 0.001) {
        self.rate = rate
        bias = Array(repeating: 0, count: experts)
    }

    /// - Parameter loads: of one step, summed over all workers.
    package mutating func update(_ loads: ExpertLoads) {
        precondition(loads.tokens.count == bias.count, "loads of other experts")
        // mean - load has the sign of total - load * experts, without rounding.
        let total = loads.tokens.reduce(0, +)
        for index in bias.indices {
            let share = loads.tokens[index] * UInt64(bias.count)
            if share < total { bias[index] += rate } else if share > total { bias[index] -= rate }
        }
    }

    /// The same rule for loads that come as a weighted mean of shares in single precision, as an all-reduce
    /// brings them: +1 where a load is below the mean, -1 above, 0 within 2^-20 of it.
    ///
    /// A mean over R workers errs by at most (R + 2) 2^-24 of itself. Counts that differ from their mean at
    /// all differ by 1/E of a choice; so with up to 14 workers and fewer than 2^19 choices a step the
    /// sign is that of the summed counts. With more, loads equal to one in a million count as equal.
    package static func directions(_ shares: [Float]) -> [Float] {
        let mean = shares.reduce(0) { $0 + Double($1) } / Double(max(1, shares.count))
        let tolerance = mean * 0x1p-20
        return shares.map { share in
            let lack = mean - Double(share)
            return lack > tolerance ? 1 : lack < -tolerance ? -1 : 0
        }
    }
}
