package import ClusterModel
package import ZeroMQ

/// Encoded bytes that machines refer to by handle: made here, or inside a received message.
package final class PayloadBytes: Sendable {
    private enum Storage: Sendable {
        case made([UInt8])
        case pooled(FrameBuffer, count: Int)
        case received(HeldMessage, Range<Int>)
    }
    private let storage: Storage
    package let transform: TransformID
    package let stage: StageID

    package init(made bytes: [UInt8], transform: TransformID, stage: StageID) {
        storage = .made(bytes)
        self.transform = transform
        self.stage = stage
    }

    /// The first `count` bytes of a buffer's payload, which nobody changes any more.
    package init(
        pooled buffer: FrameBuffer, count: Int, transform: TransformID, stage: StageID
    ) {
        storage = .pooled(buffer, count: count)
        self.transform = transform
        self.stage = stage
    }

    /// Bytes `range` of a received frame, which stays alive with this object.
    package init(
        in message: HeldMessage, range: Range<Int>, transform: TransformID, stage: StageID
    ) {
        storage = .received(message, range)
        self.transform = transform
        self.stage = stage
    }

    package var count: Int {
        switch storage {
        case .made(let bytes): bytes.count
        case .pooled(_, let count): count
        case .received(_, let range): range.count
        }
    }

    package var copiedBytes: [UInt8] {
        withBytes { span in span.indices.map { span[$0] } }
    }

    /// The buffer to be sealed into a frame: this one's the first time, then copies. Nil for bytes that
    /// are not in a pooled buffer. For the loop thread.
    func frameBuffer() -> FrameBuffer? {
        guard case .pooled(let buffer, let count) = storage else { return nil }
        return buffer.isSealed ? buffer.copy(payloadCount: count) : buffer
    }

    package func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        switch storage {
        case .made(let bytes):
            return try body(bytes.span)
        case .pooled(let buffer, let count):
            return try buffer.withPayload(count, body)
        case .received(let message, let range):
            return try message.withBytes { span throws(Failure) in
                try body(span.extracting(range))
            }
        }
    }
}

/// The loop thread's table of payloads. Handles are never used twice.
package struct PayloadStore {
    private var payloads: [PayloadHandle: PayloadBytes] = [:]
    private var next: UInt64 = 1
    /// Bytes held now and at most, for the report.
    package private(set) var heldBytes = 0
    package private(set) var peakBytes = 0

    package init() {}

    package mutating func add(_ bytes: PayloadBytes) -> PayloadHandle {
        let handle = PayloadHandle(rawValue: next)
        next += 1
        payloads[handle] = bytes
        heldBytes += bytes.count
        peakBytes = max(peakBytes, heldBytes)
        return handle
    }

    package subscript(_ handle: PayloadHandle) -> PayloadBytes {
        guard let bytes = payloads[handle] else {
            preconditionFailure("payload \(handle.rawValue) was released before it was used")
        }
        return bytes
    }

    package mutating func release(_ handle: PayloadHandle) {
        guard let bytes = payloads.removeValue(forKey: handle) else {
            preconditionFailure("payload \(handle.rawValue) released twice")
        }
        heldBytes -= bytes.count
    }
}
