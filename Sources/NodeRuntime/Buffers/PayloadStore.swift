package import ClusterModel
package import Training
package import ZeroMQ

/// Encoded bytes that machines refer to by handle: made here, inside a received message, or fp32 values
/// of the trainer's own vectors.
package final class PayloadBytes: Sendable {
    private enum Storage: Sendable {
        case made([UInt8])
        case pooled(FrameBuffer, count: Int)
        case received(HeldMessage, Range<Int>)
        case values(SharedFloats, Range<Int>)
    }
    private let storage: Storage
    /// Where these values stand decoded, if they do: a mean in its place.
    private let home: (place: SharedFloats, range: Range<Int>)?
    package let transform: TransformID
    package let stage: StageID

    package init(made bytes: [UInt8], transform: TransformID, stage: StageID) {
        storage = .made(bytes)
        home = nil
        self.transform = transform
        self.stage = stage
    }

    /// The first `count` bytes of a buffer's payload, which nobody changes any more.
    package init(
        pooled buffer: FrameBuffer, count: Int, transform: TransformID, stage: StageID
    ) {
        storage = .pooled(buffer, count: count)
        home = nil
        self.transform = transform
        self.stage = stage
    }

    /// Bytes `range` of a received frame, which stays alive with this object.
    package init(
        in message: HeldMessage, range: Range<Int>, transform: TransformID, stage: StageID
    ) {
        storage = .received(message, range)
        home = nil
        self.transform = transform
        self.stage = stage
    }

    /// Elements `range` of a vector, as stored fp32; they stay as they are while this object lives.
    package convenience init(values: SharedFloats, range: Range<Int>) {
        self.init(.values(values, range), home: nil, .fp32, .stored)
    }

    private init(
        _ storage: Storage, home: (place: SharedFloats, range: Range<Int>)?,
        _ transform: TransformID, _ stage: StageID
    ) {
        self.storage = storage
        self.home = home
        self.transform = transform
        self.stage = stage
    }

    var isPlaced: Bool { home != nil }

    /// The same bytes, whose values now stand in `place` too.
    func placed(in place: SharedFloats, _ range: Range<Int>) -> PayloadBytes {
        PayloadBytes(storage, home: (place, range), transform, stage).settled
    }

    /// Without the second copy where there is one and nobody waits for it: stored fp32 is what stands in
    /// its place, and a buffer is kept only until it has been sent once.
    var settled: PayloadBytes {
        guard let home, transform == .fp32, stage == .stored else { return self }
        if case .pooled(let buffer, _) = storage, !buffer.isSealed { return self }
        return PayloadBytes(.values(home.place, home.range), home: home, .fp32, .stored)
    }

    package var count: Int {
        switch storage {
        case .made(let bytes): bytes.count
        case .pooled(_, let count): count
        case .received(_, let range): range.count
        case .values(_, let range): range.count * MemoryLayout<Float>.stride
        }
    }

    package var copiedBytes: [UInt8] {
        withBytes { span in span.indices.map { span[$0] } }
    }

    /// The buffer to be sealed into a frame: this one's the first time, then copies in buffers of `pool`.
    /// For the loop thread.
    func frameBuffer(_ pool: FramePool) -> FrameBuffer {
        if case .pooled(let buffer, _) = storage, !buffer.isSealed { return buffer }
        let copy = pool.take()
        withBytes { bytes in copy.withMutablePayload(bytes.count) { $0.fill(with: bytes) } }
        return copy
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
        case .values(let floats, let range):
            return try floats.withSpan(range) { values throws(Failure) in
                // SAFETY: the bytes of the floats, lent for this call.
                try unsafe values.withUnsafeBytes { bytes throws(Failure) in
                    try unsafe body(bytes.bindMemory(to: UInt8.self).span)
                }
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

    /// The same payload in another form.
    package mutating func replace(_ handle: PayloadHandle, with bytes: PayloadBytes) {
        payloads[handle] = bytes
    }

    package mutating func release(_ handle: PayloadHandle) {
        guard let bytes = payloads.removeValue(forKey: handle) else {
            preconditionFailure("payload \(handle.rawValue) released twice")
        }
        heldBytes -= bytes.count
    }
}
