import ClusterModel
import Compression
import Foundation
import Testing

@Suite("chunk vectors shared with the Python client")
struct VectorTests {
    private struct Vector: Codable {
        var name: String
        var transform: UInt8
        var stage: UInt8
        var elements: Int
        var encoded: String
        var values: [String]?
    }

    /// Chunks which our encoder wrote, and chunks assembled by hand (`make_chunks.py`).
    @Test(
        "chunks decode to the stated bits or are refused",
        arguments: ["chunks.json", "chunks-by-hand.json"])
    func vectors(name: String) throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Protocols/vectors/\(name)")
        let vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file))
        #expect(Set(TransformID.allCases.map(\.rawValue)).isSubset(of: vectors.map(\.transform)))
        #expect(Set(StageID.allCases.map(\.rawValue)).isSubset(of: vectors.map(\.stage)))
        for vector in vectors {
            guard let transform = TransformID(rawValue: vector.transform),
                let stage = StageID(rawValue: vector.stage)
            else {
                #expect(vector.values == nil, "\(vector.name)")
                continue
            }
            let chunk = EncodedChunk(
                bytes: bytes(vector.encoded), transform: transform, stage: stage, weight: 1)
            guard let values = vector.values else {
                #expect(throws: ChunkError.self, "\(vector.name)") {
                    try decode(chunk, count: vector.elements)
                }
                continue
            }
            // Values behind the last one listed are 0.
            let zeros = repeatElement("0", count: vector.elements - values.count)
            let got = try decode(chunk, count: vector.elements)
            #expect(
                got.map { String($0.bitPattern, radix: 16) } == values + zeros, "\(vector.name)")
        }
    }

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8).map { UInt8($0 < 97 ? $0 - 48 : $0 - 87) }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
