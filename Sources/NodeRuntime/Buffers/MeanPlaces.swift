internal import CProcessor
package import ClusterModel
import Compression
package import Coordination
package import Training
import WireProtocol

/// Where the means of gradient exchanges go: decoded as they arrive, while their bytes are in the cache,
/// into memory that is nobody's contribution, so that an exchange that is begun again finds its values.
///
/// Two vectors for each scope in turn: the last exchange's mean stays for peers that lack some of it,
/// until the machine lets go of it at the end of this one. Stored fp32 is then served from there, and its
/// frame goes back to the pool or to libzmq.
package struct MeanPlaces {
    /// The exchange whose means are being placed.
    private struct Open {
        let key: CollectiveKey
        let place: SharedFloats
        let map: FragmentMap
    }

    private let parameterCount: Int
    private let decoder = ChunkDecoder()
    private var open: Open?
    private var region: [SharedFloats] = []
    private var pool: [SharedFloats] = []

    package init(parameterCount: Int) { self.parameterCount = parameterCount }

    /// An exchange begins, perhaps again. Only means of the whole gradient have a place.
    package mutating func begin(_ encoding: TrainerOrder.Encoding) {
        // Fragments that leave meanwhile go to the trainer's outer state.
        guard encoding.source == .gradient, open?.key != encoding.round else { return }
        open = nil
        guard encoding.fragment.reduce(0, { $0 + $1.count }) == UInt64(parameterCount)
        else { return }
        open = Open(
            key: encoding.round, place: nextPlace(encoding.round.scope),
            map: FragmentMap(encoding.fragment))
    }

    private mutating func nextPlace(_ scope: CollectiveKey.Scope) -> SharedFloats {
        switch scope {
        case .region: Self.turn(&region, parameterCount)
        case .pool: Self.turn(&pool, parameterCount)
        }
    }

    private static func turn(_ places: inout [SharedFloats], _ count: Int) -> SharedFloats {
        if places.count < 2 {
            places.append(SharedFloats(count: count))
        } else {
            places.swapAt(0, 1)
        }
        return places[places.count - 1]
    }

    /// Decodes a mean the machine has just taken; nil: it has no place here, and stays as it is. Mutating, so
    /// that its owner lends it instead of a copy.
    package mutating func place(
        _ bytes: PayloadBytes, of key: CollectiveKey, elements: Range<UInt64>
    ) -> PayloadBytes? {
        guard let open, open.key == key, !bytes.isPlaced else { return nil }
        let parts = open.map.parameters(elements)
        guard parts.count == 1 else { return nil }
        do {
            try open.place.withMutableSpan(parts[0]) { target throws(ChunkError) in
                try bytes.withBytes { encoded throws(ChunkError) in
                    if bytes.transform == .fp32, bytes.stage == .stored {
                        target.stream(from: encoded)
                        return
                    }
                    try decoder.decode(
                        encoded, transform: bytes.transform, stage: bytes.stage, into: &target)
                }
            }
        } catch {
            // The trainer meets the same error when its turn comes, and says so.
            return nil
        }
        return bytes.placed(in: open.place, parts[0])
    }

    /// All means are here: the place is the trainer's from now on. Nil if the exchange has none.
    package mutating func finish(_ key: CollectiveKey) -> SharedFloats? {
        guard let ended = open, ended.key == key else { return nil }
        open = nil
        return ended.place
    }
}

extension MutableSpan<Float> {
    /// Copies stored fp32 past the caches: what is received next finds them warm.
    mutating func stream(from bytes: Span<UInt8>) {
        precondition(bytes.count == count * MemoryLayout<Float>.stride, "fp32 of another length")
        unsafe bytes.withUnsafeBytes { source in
            // SAFETY: both have the same length, and do not overlap.
            unsafe withUnsafeMutableBytes { target in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                unsafe longhaul_stream_copy(to, from, source.count)
            }
        }
    }
}
