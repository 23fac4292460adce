internal import ClusterModel

/// Bytes one outer round sends from region to region.
///
/// Of the model's N values the workers of region r own the share f_r: equal parts per worker, unless
/// unlike links make others faster (``OwnerShares``). A region r that holds k_r replicas (1 when its
/// workers step together, else one per worker) sends to region s its contributions to what s owns,
/// k_r N f_s values, and the means of the values it owns itself to each of s's replicas, k_s N f_r.
struct TrafficPlan {
    private let values: Double
    private let replicas: [Int]
    /// Of all values, by region.
    let shares: [Double]
    let bytesPerValue: Double

    init(_ file: ClusterFile) {
        values = Double(file.configuration.model.parameterCount)
        let members = file.topology.regions.map(\.workers.count)
        let isOneReplica = file.configuration.schedule.inner == .everyStep
        replicas = members.map { isOneReplica ? 1 : $0 }
        let weights = file.topology.ownerWeights(members: members, areOneReplica: isOneReplica)
        let owned = zip(members, weights).map { Double($0) * Double($1) }
        let all = owned.reduce(0, +)
        shares = owned.map { $0 / all }
        bytesPerValue = file.configuration.wire.betweenRegions.storedBytesPerValue
    }

    /// Values that cross from region `from` to region `to` in one outer round.
    func valuesPerRound(from: Int, to: Int) -> Double {
        values
            * (Double(replicas[from]) * shares[to] + Double(replicas[to]) * shares[from])
    }

    func bytesPerRound(from: Int, to: Int) -> UInt64 {
        UInt64((valuesPerRound(from: from, to: to) * bytesPerValue).rounded())
    }
}
