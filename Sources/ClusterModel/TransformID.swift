/// The lossy half of a chunk's encoding, fixed by the plan. Raw values are on the wire.
package enum TransformID: UInt8, CaseIterable, Codable, Sendable {
    case fp32 = 0
    case bf16 = 1
    case fp16 = 2
    case int8 = 3
    case int4 = 4
    case e3m0 = 5
    case topK = 6
}

/// The lossless half of a chunk's encoding, chosen by the sender per chunk. Raw values are on the wire.
package enum StageID: UInt8, CaseIterable, Codable, Sendable {
    case stored = 0
    case lz4 = 1
    case zstd = 2
    case lz4Planes = 3
    case zstdPlanes = 4
    case rice = 5
}
