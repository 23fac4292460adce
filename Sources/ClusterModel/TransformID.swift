/// How the values of a chunk are represented: the first byte of a chunk's encoding pair.
///
/// The plan fixes it per link and fragment, because all but `fp32` lose precision and every member
/// must decode the same values. The layouts are specified in `docs/reduction.md`.
package enum TransformID: UInt8, Codable, Sendable, CaseIterable {
    /// IEEE 754 binary32, little-endian.
    case fp32 = 0
    /// The upper half of a binary32, rounded to nearest even.
    case bf16 = 1
    /// IEEE 754 binary16, rounded to nearest even, saturating at 65,504.
    case fp16 = 2
    /// Eight bits per value and one fp32 scale (largest magnitude / 127) per block of 256.
    case int8 = 3
    /// Four bits per value and one fp32 scale (largest magnitude / 7) per block of 256.
    case int4 = 4
    /// Sign and three exponent bits per value, one fp32 scale (largest magnitude) per block of 256.
    case e3m0 = 5
    /// The 64 largest of each 4,096 values as index, sign and one of two levels.
    case topK = 6
}

/// The lossless stage applied after the transform: the second byte of a chunk's encoding pair.
///
/// The sender chooses it per chunk; it can change the size of a chunk but never a value.
package enum StageID: UInt8, Codable, Sendable, CaseIterable {
    /// The transform's bytes as they are.
    case stored = 0
    /// One LZ4 block.
    case lz4 = 1
    /// One zstd frame.
    case zstd = 2
    /// Bit or byte planes, each stored or one LZ4 block.
    case lz4Planes = 3
    /// Bit or byte planes, each stored or one zstd frame.
    case zstdPlanes = 4
    /// Rice-coded gaps between kept positions; only after `topK`.
    case rice = 5
}

extension TransformID {
    /// The name used in cluster files, reports and benchmark output.
    package var name: String {
        switch self {
        case .fp32: "fp32"
        case .bf16: "bf16"
        case .fp16: "fp16"
        case .int8: "int8"
        case .int4: "int4"
        case .e3m0: "e3m0"
        case .topK: "topk"
        }
    }

    /// Encoded bytes of one value, before the lossless stage. Block formats carry a 4-byte scale per
    /// 256 values; of top-k, 64 of 4,096 values travel with 14 bits each.
    package var storedBytesPerValue: Double {
        switch self {
        case .fp32: 4
        case .bf16, .fp16: 2
        case .int8: 1 + 4.0 / 256
        case .int4, .e3m0: 0.5 + 4.0 / 256
        case .topK: 64 * 14 / 8 / 4096.0
        }
    }

    /// The transform of that name, or nil.
    package init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

extension StageID {
    /// The name used in reports and benchmark output.
    package var name: String {
        switch self {
        case .stored: "stored"
        case .lz4: "lz4"
        case .zstd: "zstd"
        case .lz4Planes: "planes-lz4"
        case .zstdPlanes: "planes-zstd"
        case .rice: "rice"
        }
    }

    /// The stage of that name, or nil.
    package init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}
