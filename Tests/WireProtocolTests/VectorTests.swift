import Testing
import WireProtocol

/// Frames written by the Python side: accepted and refused alike here.
struct VectorTests {
    static let accepted = Result { try ["control.json", "data.json"].flatMap(VectorFile.accepted) }
    static let rejected = Result { try VectorFile.rejected() }

    @Test func everyMessageTypeHasAnAcceptedFrame() throws {
        let covered = Set(try Self.accepted.get().map(\.message.type))
        #expect(covered == Set(MessageType.allCases))
    }

    @Test(arguments: try accepted.get())
    func acceptedFrameDecodesToTheFieldsSpelledOut(vector: AcceptedVector) throws {
        let frame = try FrameDecoder.decode(vector.frame.span, limits: vector.limits)
        #expect(frame.header == vector.header)
        #expect(frame.message == vector.message)
        #expect(Array(vector.frame[frame.payload]) == vector.payload)
    }

    @Test(arguments: try accepted.get())
    func fieldsSpelledOutEncodeToTheSameBytes(vector: AcceptedVector) throws {
        let whole = try FrameEncoder.encode(
            header: vector.header, message: vector.message, payload: vector.payload.span)
        #expect(whole == vector.frame)
    }

    @Test(arguments: try accepted.get())
    func sealingInPlaceGivesTheSameBytes(vector: AcceptedVector) throws {
        let payloadOffset = vector.frame.count - vector.payload.count
        // Room behind the frame, as in a pooled buffer, and rubbish before the payload.
        var buffer = [UInt8](repeating: 0xEE, count: vector.frame.count + 5)
        buffer.replaceSubrange(payloadOffset..<vector.frame.count, with: vector.payload)
        var span = buffer.mutableSpan
        let count = try FrameEncoder.seal(
            header: vector.header, message: vector.message, payloadCount: vector.payload.count,
            in: &span)
        #expect(Array(buffer[..<count]) == vector.frame)
        #expect(buffer[count...].allSatisfy { $0 == 0xEE })
    }

    @Test(arguments: try accepted.get())
    func theOtherPlaneRefusesTheFrame(vector: AcceptedVector) {
        let other = vector.limits.plane == .control ? FrameLimits.data : .control
        if vector.message.type == .error { return }
        #expect(
            throws: FrameError.wrongPlane(type: vector.message.type, plane: other.plane)
        ) {
            try FrameDecoder.decode(vector.frame.span, limits: other)
        }
    }

    @Test(arguments: try rejected.get())
    func rejectedFrameGivesTheNamedError(vector: RejectedVector) throws {
        let bytes = try #require(vector.bytes)
        let error = try #require(throws: FrameError.self) {
            try FrameDecoder.decode(bytes.span, limits: vector.limits)
        }
        #expect(error.name == vector.error, "\(error)")
        #expect(error.offset == vector.offset, "\(error)")
    }

    @Test func everyErrorHasARejectedFrame() throws {
        let covered = Set(try Self.rejected.get().map(\.error))
        // The cases of FrameError.
        #expect(covered.count == 22)
    }

    @Test func onlyBulkMessagesAndTheirRequestsAreNumberedOnALane() {
        let numbered = MessageType.allCases.filter(\.isSequencedOnLane)
        #expect(numbered == [.chunk, .pull, .stateRequest, .stateChunk, .relay, .tokens])
        #expect(numbered.allSatisfy { $0.isPermitted(on: .data) && !$0.isPermitted(on: .control) })
    }

    @Test(arguments: try VectorFile.hashes())
    func digestsAgree(vector: HashVector) throws {
        let bytes = (0..<vector.length).map { index in
            UInt8(truncatingIfNeeded: (index &* 131 &+ 17) ^ (index >> 8))
        }
        let expected = try #require(UInt64(vector.xxh3, radix: 16))
        #expect(Checksum.xxh3(bytes.span) == expected)
    }
}
