package import ClusterModel

extension WorkerRound {
    /// Where a mean belongs.
    package struct MeanPlacement: Equatable, Sendable {
        package let key: CollectiveKey
        /// Of the collective.
        package let elements: Range<UInt64>
    }

    /// What `payload` is the mean of, if an exchange under way has taken it: the driver may decode it
    /// ahead of the order to absorb. Of a pool of one region the mean is what the region's parts were
    /// reduced to, so `key` may be theirs.
    package func placement(
        ofMean payload: PayloadHandle, of key: CollectiveKey, slice: Int, position: Int
    ) -> MeanPlacement? {
        if inner?.key == key { return inner?.placement(ofMean: payload, slice, position) }
        guard let index = flights.firstIndex(where: { $0.key == key || $0.parts?.key == key })
        else { return nil }
        return flights[index].placement(ofMean: payload, slice, position)
    }
}

extension Exchange {
    fileprivate func placement(
        ofMean payload: PayloadHandle, _ slice: Int, _ position: Int
    ) -> WorkerRound.MeanPlacement? {
        guard mean(slice: slice, position: position)?.handle == payload else { return nil }
        return WorkerRound.MeanPlacement(
            key: key, elements: geometry.range(ofSlice: slice, position: position))
    }
}
