import Testing
import WireProtocol

/// Section 2.1 of the protocol.
@Suite("References to frames in shared memory") struct FrameReferenceTests {
    private static let vectors = Result { try VectorFile.memory() }

    private static func reference(_ bytes: [UInt8]) throws -> FrameReference? {
        try FrameReference(bytes.span)
    }

    private static func decode(_ bytes: [UInt8], _ medium: FrameMedium) throws -> Frame {
        try FrameDecoder.decode(bytes.span, limits: .data, medium: medium)
    }

    @Test(arguments: try vectors.get().filter { $0.reference != nil })
    func reference(vector: MemoryVector) throws {
        let bytes = try #require(vector.reference.flatMap(bytes(hex:)))
        guard let fields = vector.fields else {
            let error = try #require(throws: FrameError.self) {
                try Self.reference(bytes)
            }
            #expect(error.name == vector.error && error.offset == vector.offset, "\(error)")
            return
        }
        #expect(try Self.reference(bytes) == fields)
        #expect(fields.bytes == bytes)
    }

    @Test func aFrameInMemoryIsCheckedUpToItsPayload() throws {
        let vector = try #require(try Self.vectors.get().first { $0.frame != nil })
        var frame = try #require(vector.frame.flatMap(bytes(hex:)))
        let payload = try #require(vector.payload.flatMap(bytes(hex:)))
        let decoded = try Self.decode(frame, .memory)
        #expect(Array(frame[decoded.payload]) == payload)
        #expect(throws: FrameError.self) { try Self.decode(frame, .wire) }

        var buffer = frame
        var span = buffer.mutableSpan
        let count = try FrameEncoder.seal(
            header: decoded.header, message: decoded.message, payloadCount: payload.count,
            medium: .memory, in: &span)
        #expect(count == frame.count && buffer == frame)

        frame[frame.count - 1] ^= 1
        #expect(throws: Never.self) { try Self.decode(frame, .memory) }
        frame[70] ^= 1
        #expect(throws: FrameError.self) { try Self.decode(frame, .memory) }
    }

    @Test func aFrameIsNoReference() throws {
        for vector in try VectorFile.accepted("data.json") {
            #expect(try Self.reference(vector.frame) == nil)
        }
        #expect(try Self.reference([]) == nil)
    }
}
