package import ClusterModel

/// Why a chunk was refused. All but `destinationTooSmall` mean that the bytes are wrong or hostile
/// and that the sender, not the receiver, is at fault.
package enum ChunkError: Error, Equatable, Sendable {
    /// More elements than a chunk may hold, or none.
    case elementCount(got: Int, limit: Int)
    /// The stage is not defined after this transform.
    case stageNotAllowed(StageID, after: TransformID)
    /// A stored chunk whose byte count does not follow from its elements, or a compressed one
    /// outside the range a valid one can have.
    case encodedLength(TransformID, StageID, expected: ClosedRange<Int>, got: Int)
    /// The lossless stage did not yield exactly the body's bytes.
    case bodyLength(TransformID, StageID, expected: Int, got: Int)
    /// The lossless stage's bytes are malformed.
    case malformedStage(TransformID, StageID)
    /// A value or code which no encoder produces, in the given block of 256 (or 4,096) elements.
    case notCanonical(TransformID, String, block: Int)
    /// The caller's buffer is too small.
    case destinationTooSmall(needed: Int, got: Int)
    /// A reduction without sources, with too many, or whose weights sum to zero or beyond 64 bits.
    case sources(String)
}

extension ChunkError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .elementCount(let got, let limit):
            "chunk of \(got) elements: a chunk holds 1 to \(limit)"
        case .stageNotAllowed(let stage, let transform):
            "chunk names stage \(stage.name) after \(transform.name): not defined together"
        case .encodedLength(let transform, let stage, let expected, let got):
            "chunk \(transform.name)/\(stage.name) has \(got) bytes: "
                + "expected \(expected.lowerBound) to \(expected.upperBound)"
        case .bodyLength(let transform, let stage, let expected, let got):
            "chunk \(transform.name)/\(stage.name) unpacks to \(got) bytes: expected \(expected)"
        case .malformedStage(let transform, let stage):
            "chunk \(transform.name)/\(stage.name) does not unpack: the bytes are malformed"
        case .notCanonical(let transform, let what, let block):
            "chunk \(transform.name): \(what) in block \(block), which no encoder writes"
        case .destinationTooSmall(let needed, let got):
            "chunk needs a buffer of \(needed) bytes, the caller's has \(got)"
        case .sources(let what):
            "reduction refused: \(what)"
        }
    }
}
