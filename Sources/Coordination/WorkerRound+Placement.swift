package import ClusterModel

extension WorkerRound {
    /// Elements of the collective that `payload` is the mean of, if an exchange under way has taken it:
    /// the driver may decode it ahead of the order to absorb.
    package func elements(
        ofMean payload: PayloadHandle, of key: CollectiveKey, slice: Int, position: Int
    ) -> Range<UInt64>? {
        guard let exchange = exchange(key),
            exchange.mean(slice: slice, position: position)?.handle == payload
        else { return nil }
        return exchange.geometry.range(ofSlice: slice, position: position)
    }
}
