/// Splits the samples of a region's step among its workers so that all finish together.
package enum MicroBatches {
    /// The split of `total` with the smallest largest part_w / rates_w; every part is at least 1.
    ///
    /// In proportion, rounded down; what is left goes sample by sample to whoever would be done first
    /// with one more (of equals the first one). Greedy is optimal for equal jobs on unlike machines.
    ///
    /// - Parameters:
    ///   - total: at least as many as workers.
    ///   - rates: samples per second, above zero.
    package static func split(_ total: Int, rates: [Double]) -> [Int] {
        precondition(!rates.isEmpty && total >= rates.count, "a sample for each worker")
        precondition(rates.allSatisfy { $0 > 0 && $0.isFinite }, "rates above zero")
        let sum = rates.reduce(0, +)
        var parts = rates.map { max(1, Int(Double(total) * $0 / sum)) }
        var left = total - parts.reduce(0, +)
        while left > 0 {
            let next = index(rates) { Double(parts[$0] + 1) / rates[$0] }
            parts[next] += 1
            left -= 1
        }
        // The least of one sample can have given out more than there is.
        while left < 0 {
            let next = index(rates) { parts[$0] > 1 ? -Double(parts[$0]) / rates[$0] : .infinity }
            parts[next] -= 1
            left += 1
        }
        return parts
    }

    /// Time of a step with that split: the slowest worker's.
    package static func seconds(_ parts: [Int], rates: [Double]) -> Double {
        zip(parts, rates).map { Double($0) / $1 }.max() ?? 0
    }

    private static func index(_ rates: [Double], _ cost: (Int) -> Double) -> Int {
        var best = (index: 0, cost: Double.infinity)
        for index in rates.indices {
            let value = cost(index)
            if value < best.cost { best = (index, value) }
        }
        return best.index
    }
}
