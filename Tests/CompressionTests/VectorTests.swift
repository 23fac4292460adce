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

    @Test("Protocols/vectors/chunks.json decodes to the stated bits or is refused")
    func vectors() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Protocols/vectors/chunks.json")
        let vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file))
        #expect(Set(vectors.map(\.transform)).count == TransformID.allCases.count)
        #expect(Set(vectors.map(\.stage)).count == StageID.allCases.count)
        for vector in vectors {
            let chunk = EncodedChunk(
                bytes: bytes(vector.encoded),
                transform: try #require(TransformID(rawValue: vector.transform)),
                stage: try #require(StageID(rawValue: vector.stage)), weight: 1)
            guard let values = vector.values else {
                #expect(throws: ChunkError.self, "\(vector.name)") {
                    try decode(chunk, count: vector.elements)
                }
                continue
            }
            let got = try decode(chunk, count: vector.elements)
            #expect(got.map { String($0.bitPattern, radix: 16) } == values, "\(vector.name)")
        }
    }

    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8).map { UInt8($0 < 97 ? $0 - 48 : $0 - 87) }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
