/// How much of a pool-wide collective each region owns, so that the slowest link between two regions is
/// busy for as short as possible.
///
/// With share `f_r` of N values owned in region r, which holds k_r replicas, the link between i and j
/// carries in each direction
///
///     N (k_i f_j + k_j f_i)
///
/// values: i's contributions to what j owns, and the means of what i owns. So the time of an exchange is
/// at least N s / max(sum f) with `k_i f_j + k_j f_i <= rate(i, j) / s`: the sum of the shares is made as
/// large as the rates allow, then scaled to 1. Two regions send each other N k whatever the split. Why
/// not the published rule for peers with one interface each: docs/decisions/0009-owner-shares.md.
package enum OwnerShares {
    /// Denominator of a share: the weights handed out sum to about this for a whole region.
    static let scale = 1 << 24
    /// Above this many regions shares stay equal: the number of links grows with the square, and with
    /// that many owners no single slow link carries much.
    package static let regionLimit = 64
    /// Shares stay equal unless they make the slowest link at least this much faster.
    static let worthwhile = 1.05

    /// Weight of one member's slice, by region; equal weights are all 1.
    ///
    /// - Parameters:
    ///   - members: in the plan, by region.
    ///   - replicas: by region; 1 where a region's members step together.
    ///   - rate: bits per second of the link between two regions, the slower direction; 0 = unlimited.
    package static func memberWeights(
        members: [Int], replicas: [Int], rate: (Int, Int) -> UInt64
    ) -> [UInt32] {
        let equal = [UInt32](repeating: 1, count: members.count)
        let present = members.indices.filter { members[$0] > 0 }
        guard (3...regionLimit).contains(present.count) else { return equal }
        let links = limited(present, replicas, rate)
        guard !links.isEmpty else { return equal }
        let total = present.reduce(0) { $0 + members[$1] }
        let even = present.map { Double(members[$0]) / Double(total) }
        guard let best = largest(links, regions: present.count) else { return equal }
        let sum = best.reduce(0, +)
        guard sum > 0 else { return equal }
        let shares = best.map { $0 / sum }
        guard slowest(links, even) > worthwhile * slowest(links, shares) else { return equal }
        var weights = equal
        for (place, region) in present.enumerated() {
            let share = shares[place] * Double(scale) / Double(members[region])
            weights[region] = UInt32(share.rounded())
        }
        return weights
    }

    // MARK: The linear programme

    /// One pair of regions: `a f_first + b f_second <= rate`, rates relative to the fastest.
    private struct Pair {
        let first: Int
        let second: Int
        let a: Double
        let b: Double
        let rate: Double
    }

    private static func limited(
        _ present: [Int], _ replicas: [Int], _ rate: (Int, Int) -> UInt64
    ) -> [Pair] {
        var fastest: UInt64 = 0
        for (place, i) in present.enumerated() {
            for j in present[(place + 1)...] { fastest = max(fastest, rate(i, j)) }
        }
        guard fastest > 0 else { return [] }
        var pairs: [Pair] = []
        for (place, i) in present.enumerated() {
            for next in (place + 1)..<present.count {
                let j = present[next]
                let bits = rate(i, j)
                // Unlimited beside limited: as good as a thousand times the fastest.
                let relative = bits == 0 ? 1000 : Double(bits) / Double(fastest)
                pairs.append(
                    Pair(
                        first: place, second: next, a: Double(replicas[j]),
                        b: Double(replicas[i]), rate: relative))
            }
        }
        return pairs
    }

    /// Time of the slowest link, in units of N over the fastest rate.
    private static func slowest(_ pairs: [Pair], _ shares: [Double]) -> Double {
        pairs.reduce(0) {
            max($0, ($1.a * shares[$1.first] + $1.b * shares[$1.second]) / $1.rate)
        }
    }

    /// Maximises the sum of f >= 0 under the pairs: the simplex method in dictionary form. Nothing owned is
    /// feasible, so there is no first phase; the lowest index enters and leaves (Bland), so it ends.
    private static func largest(_ pairs: [Pair], regions: Int) -> [Double]? {
        let epsilon = 1e-12
        // Row r: basic[r] = bounds[r] - sum over c of rows[r][c] x free[c].
        var rows = pairs.map { pair -> [Double] in
            var row = [Double](repeating: 0, count: regions)
            row[pair.first] = pair.a
            row[pair.second] = pair.b
            return row
        }
        var bounds = pairs.map(\.rate)
        var gain = [Double](repeating: 1, count: regions)
        var free = Array(0..<regions)
        var basic = Array(regions..<regions + pairs.count)
        for _ in 0..<50 * (regions + 1) {
            guard
                let column = free.indices.filter({ gain[$0] > epsilon })
                    .min(by: { free[$0] < free[$1] })
            else {
                var values = [Double](repeating: 0, count: regions)
                for (row, variable) in basic.enumerated() where variable < regions {
                    values[variable] = bounds[row]
                }
                return values
            }
            let leaving = rows.indices.filter { rows[$0][column] > epsilon }.min {
                let (x, y) = (bounds[$0] / rows[$0][column], bounds[$1] / rows[$1][column])
                return x != y ? x < y : basic[$0] < basic[$1]
            }
            guard let row = leaving else { return nil }
            pivot(row, column, &rows, &bounds, &gain)
            swap(&free[column], &basic[row])
        }
        return nil
    }

    private static func pivot(
        _ row: Int, _ column: Int, _ rows: inout [[Double]], _ bounds: inout [Double],
        _ gain: inout [Double]
    ) {
        let by = rows[row][column]
        for c in rows[row].indices { rows[row][c] = c == column ? 1 / by : rows[row][c] / by }
        bounds[row] /= by
        for other in rows.indices where other != row {
            let factor = rows[other][column]
            if factor == 0 { continue }
            for c in rows[row].indices {
                rows[other][c] =
                    c == column ? -factor * rows[row][c] : rows[other][c] - factor * rows[row][c]
            }
            bounds[other] -= factor * bounds[row]
        }
        let factor = gain[column]
        for c in rows[row].indices {
            gain[c] = c == column ? -factor * rows[row][c] : gain[c] - factor * rows[row][c]
        }
    }
}

extension Topology {
    /// Weight of one member's slice of a pool-wide collective, by region (``OwnerShares``).
    ///
    /// - Parameters:
    ///   - members: how many of each region's workers take part.
    ///   - crossesOnce: of what a region's members have to send, one value crosses each link.
    package func ownerWeights(members: [Int], crossesOnce: Bool) -> [UInt32] {
        OwnerShares.memberWeights(
            members: members, replicas: members.map { crossesOnce ? min($0, 1) : $0 }
        ) { i, j in
            guard let link = link(between: RegionID(i), and: RegionID(j)) else { return 0 }
            let rates = [RegionID(i), RegionID(j)].map { link.parameters(from: $0).bitsPerSecond }
            return rates.contains(0) ? rates.max() ?? 0 : rates.min() ?? 0
        }
    }
}
