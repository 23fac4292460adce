internal import ClusterModel

/// Bytes one outer round sends from region to region.
///
/// Every worker owns an equal part of the model's N values. A region r with m_r of M workers,
/// holding k_r replicas (1 when its workers step together, else m_r), sends to region s the part of
/// its contributions that s owns, k_r N m_s / M values, and the means of the values it owns itself,
/// once to every other region, N m_r / M. Summed over s: k_r N (1 - m_r / M) + N (m_r / M) (R - 1).
struct TrafficPlan {
    private let values: Double
    private let members: [Int]
    private let replicas: [Int]
    let bytesPerValue: Double

    init(_ file: ClusterFile) {
        values = Double(file.configuration.model.parameterCount)
        members = file.topology.regions.map(\.workers.count)
        let isOneReplica = file.configuration.schedule.inner == .everyStep
        replicas = members.map { isOneReplica ? 1 : $0 }
        bytesPerValue = file.configuration.wire.betweenRegions.storedBytesPerValue
    }

    /// Values that cross from region `from` to region `to` in one outer round.
    func valuesPerRound(from: Int, to: Int) -> Double {
        let all = Double(members.reduce(0, +))
        let contributions = Double(replicas[from]) * values * Double(members[to]) / all
        let means = values * Double(members[from]) / all
        return contributions + means
    }

    func bytesPerRound(from: Int, to: Int) -> UInt64 {
        UInt64((valuesPerRound(from: from, to: to) * bytesPerValue).rounded())
    }
}
