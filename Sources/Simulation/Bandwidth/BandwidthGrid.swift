/// Rates at which the paper tried its table: 10^(-1 + 4 k / 49) Gbit/s, k = 0 ... 49.
package enum BandwidthGrid: String, CaseIterable, Sendable {
    /// The lowest rate itself.
    case none
    /// The first rate of the paper's grid that reaches the target; above the grid the lowest rate
    /// itself.
    case paper

    /// Gigabits per second. Written out, because the power function's last digit is the library's.
    package static let paperRates: [Double] = {
        var rates: [Double] = []
        for index in 0..<50 { rates.append(0.1 * power(4 * Double(index) / 49)) }
        return rates
    }()

    /// 10^x for x in 0 ... 4 by the exponential series of x ln 10, halved until it converges fast.
    static func power(_ exponent: Double) -> Double {
        let x = exponent * 2.302_585_092_994_046 / 64
        var term = 1.0
        var sum = 1.0
        for order in 1...18 {
            term *= x / Double(order)
            sum += term
        }
        for _ in 0..<6 { sum *= sum }
        return sum
    }

    /// Gigabits per second for a target utilisation; nil if no rate reaches it.
    package func gigabitsPerSecond(_ model: BandwidthModel, utilisation: Double) -> Double? {
        switch self {
        case .none: break
        case .paper:
            let first = Self.paperRates.first {
                model.utilisation(rate: $0 * 1e9) >= utilisation
            }
            if let first { return first }
        }
        return model.rate(utilisation: utilisation).map { $0 / 1e9 }
    }

    /// Index of the grid's point nearest to a printed figure, in ratio.
    package static func index(nearest gigabits: Double) -> Int {
        var best = 0
        for (index, rate) in paperRates.enumerated() {
            let ratio = max(rate / gigabits, gigabits / rate)
            let known = max(paperRates[best] / gigabits, gigabits / paperRates[best])
            if ratio < known { best = index }
        }
        return best
    }
}
