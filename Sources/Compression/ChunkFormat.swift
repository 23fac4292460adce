package import ClusterModel

/// Sizes of a chunk's body: the bytes which a transform yields before the lossless stage.
///
/// Layout of the dense transforms, n elements: fp32, bf16, fp16 are n values; int8, int4, e3m0 are
/// ceil(n / 256) fp32 scales, then the codes. Everything is little-endian.
package enum ChunkFormat {
    /// Elements of one chunk; the last chunk of a slice may hold fewer. 256 KiB as fp32, which is
    /// the largest message the links carry without starving their heartbeats.
    package static let usualElements = 65_536
    /// The most a chunk holds, where its values are small (protocol, 7.1).
    package static let elementLimit = 3 * usualElements

    /// Elements which share one scale.
    package static let blockElements = 256

    /// Bytes of the body of `elements` values.
    package static func bodyBytes(_ transform: TransformID, elements: Int) -> Int {
        let scales = (elements + blockElements - 1) / blockElements * 4
        return switch transform {
        case .fp32: elements * 4
        case .bf16, .fp16: elements * 2
        case .int8: scales + elements
        case .int4, .e3m0: scales + (elements + 1) / 2
        case .topK: SparseFormat.bodyBytes(elements: elements)
        }
    }

    /// An upper bound of the bytes which `ChunkEncoder.encode` writes: the body, because what a
    /// lossless stage does not shrink is stored.
    package static func encodedSizeBound(_ transform: TransformID, elements: Int) -> Int {
        bodyBytes(transform, elements: elements)
    }

    /// Whether `stage` is defined for bodies of `transform`.
    package static func allows(_ stage: StageID, after transform: TransformID) -> Bool {
        switch stage {
        case .stored, .lz4, .zstd: true
        case .lz4Planes, .zstdPlanes: PlaneStage.width(transform) != nil
        case .rice: transform == .topK
        }
    }
}
