import ClusterModel
import Compression
import Testing

/// A seeded generator of gradient-like values.
struct Gradient {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func word() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    /// Roughly normal, with a run of zeros as unused embedding rows leave them.
    mutating func values(_ count: Int) -> [Float] {
        (0..<count).map { index in
            if index % 1_024 < 100 { return 0 }
            let sum = (0..<4).reduce(Float(0)) { total, _ in
                total + Float(word() & 0xFFFF) / 65_536 - 0.5
            }
            return sum * 0.01
        }
    }
}

/// Encodes with a fresh encoder.
func encode(
    _ values: [Float], _ transform: TransformID, _ choice: LosslessChoice
) throws -> EncodedChunk {
    let encoder = ChunkEncoder(choice: choice)
    var bytes: [UInt8] = []
    let extent = try encoder.encode(values.span, transform: transform, appendingTo: &bytes)
    #expect(extent.byteCount == bytes.count)
    return EncodedChunk(bytes: bytes, transform: transform, stage: extent.stage, weight: 1)
}

func decode(_ chunk: EncodedChunk, count: Int) throws(ChunkError) -> [Float] {
    var output = [Float](repeating: .nan, count: count)
    var span = output.mutableSpan
    try ChunkDecoder().decode(
        chunk.bytes.span, transform: chunk.transform, stage: chunk.stage, into: &span)
    return output
}

let choices: [LosslessChoice] = [.stored] + StageID.allCases.map { .always($0) }
let counts = Array(1...67) + [255, 256, 257, 4_095, 4_096, 4_097, 65_535, 65_536]

@Suite("chunk codec")
struct CodecTests {
    @Test(
        "a lossless stage never changes a value or enlarges a chunk",
        arguments: TransformID.allCases)
    func stagesAreLossless(transform: TransformID) throws {
        var gradient = Gradient(seed: 42)
        for count in counts {
            let values = gradient.values(count)
            let plain = try encode(values, transform, .stored)
            let expected = try decode(plain, count: count)
            #expect(plain.bytes.count == ChunkFormat.bodyBytes(transform, elements: count))
            for choice in choices {
                let chunk = try encode(values, transform, choice)
                #expect(chunk.bytes.count <= plain.bytes.count, "\(choice)")
                let got = try decode(chunk, count: count)
                #expect(got.map(\.bitPattern) == expected.map(\.bitPattern), "\(choice)")
            }
            if transform == .fp32 { #expect(expected == values) }
        }
    }

    @Test("the error of each transform stays within its step", arguments: TransformID.allCases)
    func errors(transform: TransformID) throws {
        var gradient = Gradient(seed: 5)
        let values = gradient.values(65_536)
        let got = try decode(try encode(values, transform, .stored), count: values.count)
        let error = zip(values, got).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        let power = values.reduce(0.0) { $0 + Double($1) * Double($1) }
        let bound =
            switch transform {
            case .fp32: 0.0
            case .bf16: 1e-5
            case .fp16: 1e-6
            case .int8: 2e-4
            case .int4: 0.03
            case .e3m0: 0.1
            case .topK: 0.999
            }
        #expect(error / power <= bound, "\(error / power)")
    }

    @Test("every truncation and every extension is refused", arguments: TransformID.allCases)
    func lengths(transform: TransformID) throws {
        var gradient = Gradient(seed: 9)
        let values = gradient.values(1_000)
        for choice in choices {
            let chunk = try encode(values, transform, choice)
            for size in 0..<chunk.bytes.count {
                var short = chunk
                short.bytes = Array(chunk.bytes[..<size])
                #expect(throws: ChunkError.self, "\(choice) cut to \(size)") {
                    try decode(short, count: values.count)
                }
            }
            var long = chunk
            long.bytes.append(0)
            #expect(throws: ChunkError.self, "\(choice) extended") {
                try decode(long, count: values.count)
            }
            // One value more or less keeps as many of a sparse chunk.
            let wrong = transform == .topK ? [640, 1_089] : [999, 1_001]
            for count in wrong + [ChunkFormat.elementLimit, ChunkFormat.elementLimit + 1] {
                #expect(throws: ChunkError.self, "\(choice) as \(count)") {
                    try decode(chunk, count: count)
                }
            }
        }
    }

    @Test(
        "corrupted chunks are refused or decode to the right count, never trap",
        arguments: TransformID.allCases)
    func corruption(transform: TransformID) throws {
        var gradient = Gradient(seed: 77)
        let values = gradient.values(700)
        for choice in choices {
            let chunk = try encode(values, transform, choice)
            for _ in 0..<400 {
                var broken = chunk
                for _ in 0...(gradient.word() % 3) {
                    let index = Int(gradient.word() % UInt64(broken.bytes.count))
                    broken.bytes[index] = UInt8(truncatingIfNeeded: gradient.word() >> 20)
                }
                if let got = try? decode(broken, count: values.count) {
                    #expect(got.count == values.count)
                }
            }
        }
    }

    @Test("the adaptive choice compresses for a slow link and stores for a fast one")
    func adaptive() throws {
        var gradient = Gradient(seed: 6)
        let values = gradient.values(65_536)
        let expected = try decode(encode(values, .int4, .stored), count: values.count)
        for (rate, compresses) in [(1e3, true), (1e15, false)] {
            let encoder = ChunkEncoder(choice: .adaptive(linkBytesPerSecond: rate))
            var stages: [StageID] = []
            for _ in 0..<20 {
                var bytes: [UInt8] = []
                let extent = try encoder.encode(
                    values.span, transform: .int4, appendingTo: &bytes)
                let chunk = EncodedChunk(
                    bytes: bytes, transform: .int4, stage: extent.stage, weight: 1)
                #expect(try decode(chunk, count: values.count) == expected)
                stages.append(extent.stage)
            }
            #expect(stages.suffix(10).allSatisfy { ($0 != .stored) == compresses }, "\(stages)")
        }
    }

    @Test("planes and Rice codes shrink what they are made for")
    func ratios() throws {
        var gradient = Gradient(seed: 14)
        let values = gradient.values(65_536)
        let planes = try encode(values, .fp32, .always(.lz4Planes))
        #expect(planes.stage == .lz4Planes)
        #expect(planes.bytes.count * 115 <= values.count * 4 * 100)
        let sparse = try encode(values, .topK, .always(.rice))
        #expect(sparse.stage == .rice)
        #expect(Double(sparse.bytes.count * 8) <= 0.16 * Double(values.count))
    }

    @Test("a stage which the transform does not have is refused")
    func undefinedPairs() throws {
        let chunk = EncodedChunk(
            bytes: [UInt8](repeating: 0, count: 400), transform: .fp32, stage: .rice, weight: 1)
        #expect(throws: ChunkError.stageNotAllowed(.rice, after: .fp32)) {
            try decode(chunk, count: 100)
        }
    }

    @Test("codes and scales which no encoder writes are refused")
    func canonical() throws {
        let values = [Float](repeating: 0.5, count: 300)
        let cases: [(TransformID, Int, UInt8)] = [
            (.int8, 3, 0x80),  // sign bit of the first scale
            (.int4, 8, 0x07),  // high half byte 0
            (.e3m0, 8, 0x87),  // high half byte 8
            (.e3m0, 7, 0xFF),  // second scale negative NaN
            (.topK, 5, 0xC0),  // unused bits of the first entry
            (.topK, 3, 0xFF),  // second level negative
        ]
        for (transform, index, byte) in cases {
            var chunk = try encode(values, transform, .stored)
            chunk.bytes[index] = byte
            let error = #expect(throws: ChunkError.self, "\(transform)") {
                try decode(chunk, count: 300)
            }
            guard case .notCanonical = error else {
                Issue.record("\(transform): \(String(describing: error))")
                continue
            }
        }
        var odd = try encode([1, 2, 3], .int4, .stored)
        odd.bytes[5] |= 0x10
        #expect(throws: ChunkError.notCanonical(.int4, "a bad last half byte", block: 0)) {
            try decode(odd, count: 3)
        }
    }

    @Test(
        "a block with a NaN decodes as NaN, so that the receiver notices",
        arguments: TransformID.allCases)
    func poison(transform: TransformID) throws {
        for bad in [Float.nan, .infinity, -.infinity] {
            var values = [Float](repeating: 0.25, count: 5_000)
            values[4_500] = bad
            let got = try decode(try encode(values, transform, .stored), count: values.count)
            #expect(got.contains { !$0.isFinite })
            #expect(!got[..<4_096].contains { !$0.isFinite })
        }
    }

    @Test("top-k keeps the largest magnitudes, first among equals")
    func topK() throws {
        var values = [Float](repeating: 0.001, count: 4_096)
        for index in 0..<64 { values[index * 50 + 3] = index % 2 == 0 ? 2 : -1 }
        let got = try decode(try encode(values, .topK, .stored), count: 4_096)
        for (index, value) in got.enumerated() {
            let kept = index % 50 == 3 && index / 50 < 64
            #expect(value == (kept ? values[index] : 0), "\(index)")
        }
        let equal = try decode(
            try encode([Float](repeating: 1, count: 4_096), .topK, .stored), count: 4_096)
        #expect(equal == (0..<4_096).map { $0 < 64 ? 1 : 0 })
    }
}
