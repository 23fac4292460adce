internal import ClusterModel

/// Bytes one outer round sends from region to region: ``PoolTraffic`` in the encoding of each link.
struct TrafficPlan {
    private let traffic: PoolTraffic
    private let file: ClusterFile
    /// Where the plan chooses tau.
    private let overlap: OverlapChoice?
    /// Of all values, by region.
    var shares: [Double] { traffic.shares }
    /// Where the encoding is the same on all links.
    let bytesPerValue: Double

    init(_ file: ClusterFile) {
        self.file = file
        traffic = PoolTraffic(
            file.topology, crossesOnce: file.configuration.schedule.crossesOnce,
            values: Double(file.configuration.model.parameterCount))
        overlap = OverlapChoice(
            file.configuration, file.topology, values: file.configuration.model.parameterCount)
        bytesPerValue = file.configuration.wire.betweenRegions.storedBytesPerValue
    }

    /// Values that cross from region `from` to region `to` in one outer round.
    func valuesPerRound(from: Int, to: Int) -> Double { traffic.values(from: from, to: to) }

    /// Of a link that is described, where step times are known: what would fit.
    func codec(from: Int, to: Int, step: Double) -> LinkCodec? {
        guard let link = file.topology.link(between: RegionID(from), and: RegionID(to)) else {
            return nil
        }
        let there = link.parameters(from: RegionID(from))
        let back = link.parameters(from: RegionID(to))
        guard there.bitsPerSecond > 0 else { return nil }
        let time = LinkTime(file.configuration.schedule, step: step, overlap: overlap)
        return LinkCodec(
            values: valuesPerRound(from: from, to: to) / time.departures,
            bitsPerSecond: there.bitsPerSecond,
            roundTripSeconds: Double(there.oneWayNanoseconds + back.oneWayNanoseconds) / 1e9,
            available: time.available)
    }

    func bytesPerRound(from: Int, to: Int) -> UInt64 {
        var perValue = bytesPerValue
        if file.configuration.wire.choosesBetween == true, let step = LinkTime.step(file.topology),
            let codec = codec(from: from, to: to, step: step)
        {
            perValue = codec.transform.storedBytesPerValue
        }
        return UInt64((valuesPerRound(from: from, to: to) * perValue).rounded())
    }
}
