package import ClusterModel
package import WireProtocol

/// One chunk of what a region contributes to a round, reduced from its members' parts: what an encoder
/// with error feedback, and whoever counts bytes, must know of it.
package struct RegionContribution: Sendable {
    package let round: CollectiveKey
    package let epoch: Epoch
    package let slice: Int
    package let position: Int
    /// Its elements.
    package let range: Range<UInt64>
    /// Elements of all chunks of the slice, in order.
    package let chunks: @Sendable () -> [Range<UInt64>]
    /// Ranges of the parameter vector that the round's elements are laid out from.
    package let fragment: [ElementRange]
    /// This worker owns the slice: nothing of it leaves.
    package let staysHere: Bool

    package init(
        round: CollectiveKey, epoch: Epoch, slice: Int, position: Int, range: Range<UInt64>,
        chunks: @escaping @Sendable () -> [Range<UInt64>], fragment: [ElementRange],
        staysHere: Bool
    ) {
        self.round = round
        self.epoch = epoch
        self.slice = slice
        self.position = position
        self.range = range
        self.chunks = chunks
        self.fragment = fragment
        self.staysHere = staysHere
    }
}
