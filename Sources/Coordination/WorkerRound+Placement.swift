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
        guard let exchange = exchange(key) ?? roundUnderWay(ofParts: key),
            exchange.mean(slice: slice, position: position)?.handle == payload
        else { return nil }
        return MeanPlacement(
            key: exchange.key,
            elements: exchange.geometry.range(ofSlice: slice, position: position))
    }
}
