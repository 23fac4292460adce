/// How alike two replicas or regions route.
package enum RoutingDivergence {
    /// Jaccard index of two tokens' experts: common / all.
    package static func jaccard(_ a: ExpertGate.Routing, _ b: ExpertGate.Routing) -> Double {
        let first = Set(a.choices.map(\.expert))
        let second = Set(b.choices.map(\.expert))
        let all = first.union(second).count
        return all > 0 ? Double(first.intersection(second).count) / Double(all) : 1
    }

    /// The same of the `count` most used experts of each; ties to the first.
    package static func jaccard(mostUsed count: Int, _ a: ExpertLoads, _ b: ExpertLoads) -> Double {
        func best(_ loads: ExpertLoads) -> Set<Int> {
            let tokens = loads.tokens
            let ranked = tokens.indices.sorted {
                tokens[$0] != tokens[$1] ? tokens[$0] > tokens[$1] : $0 < $1
            }
            return Set(ranked.prefix(count))
        }
        let (first, second) = (best(a), best(b))
        let all = first.union(second).count
        return all > 0 ? Double(first.intersection(second).count) / Double(all) : 1
    }

    /// Entropy of use in units of its highest value, log E: 1 when all experts are used alike.
    package static func normalisedEntropy(_ loads: ExpertLoads) -> Double {
        guard loads.tokens.count > 1 else { return 1 }
        return entropy(loads.shares) / logarithm(Double(loads.tokens.count))
    }

    /// Jensen-Shannon divergence of use in bits, 0 (alike) to 1 (disjoint).
    package static func jensenShannon(_ a: ExpertLoads, _ b: ExpertLoads) -> Double {
        precondition(a.tokens.count == b.tokens.count, "loads of other experts")
        let (p, q) = (a.shares, b.shares)
        let middle = zip(p, q).map { ($0 + $1) / 2 }
        let nats = entropy(middle) - (entropy(p) + entropy(q)) / 2
        return max(0, nats / logarithm(2))
    }

    private static func entropy(_ shares: [Double]) -> Double {
        shares.reduce(0) { $1 > 0 ? $0 - $1 * logarithm($1) : $0 }
    }

    /// Natural logarithm of a positive number: exponent and the series of artanh on the significand in
    /// [2/3, 4/3); relative error below 1e-15.
    package static func logarithm(_ x: Double) -> Double {
        precondition(x > 0 && x.isFinite, "logarithm of \(x)")
        var significand = x.significand
        var exponent = Double(x.exponent)
        if significand > 4.0 / 3 {
            significand /= 2
            exponent += 1
        }
        let y = (significand - 1) / (significand + 1)
        var power = y
        var sum = 0.0
        var odd = 1.0
        while odd < 29 {
            sum += power / odd
            power *= y * y
            odd += 2
        }
        return 2 * sum + exponent * 0.693_147_180_559_945_3
    }
}
