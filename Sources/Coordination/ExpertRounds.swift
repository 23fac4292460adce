package import ClusterModel

/// Which experts a plan leaves out of which rounds (Protocols/longhaul-1.md, section 7.9). Experts of one
/// period take turns in the order of their numbers, so that rounds carry about as much.
///
/// ```
/// round          1   2   3   4   5   6   7   8
/// period 1       x   x   x   x   x   x   x   x
/// period 2, 0th      x       x       x       x
/// period 2, 1st  x       x       x       x
/// period 4, 2nd      x               x
/// ```
package struct ExpertRounds: Equatable, Sendable {
    private var periods: [UInt32] = []
    /// Places among the experts of the same period.
    private var places: [UInt32] = []

    package init(_ planned: [ExpertPeriod]) {
        guard planned.contains(where: { $0 != .everyRound }) else { return }
        var counts = [UInt32](repeating: 0, count: Int(UInt8.max) + 1)
        for period in planned {
            periods.append(period.rounds)
            places.append(counts[Int(period.exponent)])
            counts[Int(period.exponent)] += 1
        }
    }

    package var leavesSomeOut: Bool { !periods.isEmpty }

    /// By expert's number; empty: all are due.
    package func absent(round: UInt32) -> [Bool] {
        zip(periods, places).map { period, place in round % period != place % period }
    }
}
