import ClusterModel
import Coordination
import WireProtocol

extension WorkerRound {
    /// Goes through a step of a region of two whose vector has 16 elements, to the optimiser's.
    ///
    /// - Parameters:
    ///   - experts: shares of the region's tokens.
    ///   - weight: of the means.
    mutating func stepOfTwo(_ step: UInt32, experts: [Float], weight: UInt64 = 100) -> [Effect] {
        let key = CollectiveKey.inner(region: RegionID(0), step: step)
        _ = handle(.computed(step: step, loss: 1, tokens: 60), at: .zero)
        for slice in 0..<2 {
            _ = handle(
                .mean(
                    Mean(
                        key: key, slice: slice, position: 0,
                        payload: Fixtures.payload(UInt64(step) * 100 + UInt64(slice), elements: 8),
                        weight: weight, mayLeave: true)), at: .zero)
        }
        return handle(
            .absorbed(key: key, target: .optimiserStep, digest: 0, experts: experts), at: .zero)
    }
}
