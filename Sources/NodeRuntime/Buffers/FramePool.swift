import Foundation
import Synchronization
package import WireProtocol
import ZeroMQ

/// Memory for the frames of one worker, used again and again: after the first rounds nothing is
/// allocated per chunk.
@safe package final class FramePool: Sendable {
    /// Before the payload: room for header and fields of any data frame, and the payload on a cache line.
    static let headRoom = bufferBytes - ProtocolLimits.dataPayloadBytes
    package static let bufferBytes = FrameMemoryLayout.slotBytes
    /// Idle buffers kept, 256 MiB: the contributions and twice the means of 10^8 int8 values. More go
    /// back to the system.
    private static let idleLimit = 1_024
    /// Buffers of contributions under way between regions: 64 MiB of fp32, 16 MiB of int8, which is
    /// 1 Gbit/s over 130 ms.
    package static let contributionLimit = 256
    /// The same inside a region, 4 MiB of fp32: 10 Gbit/s over 3 ms. Twice as many cost 10 % more
    /// processor time here, because buffers come back cold; half as many stalled.
    package static let regionContributionLimit = 16
    /// Buffers under way to peers that are looked at before a new one is taken.
    private static let lentSearch = 32
    /// Until a contributor goes on without a permit.
    private static let patience = DispatchTimeInterval.milliseconds(50)

    private struct State {
        /// Addresses, so that the pool is `Sendable`; only this file turns them back.
        var idle: [UInt] = []
        /// Back from their users while a peer on this machine still reads them; the oldest first.
        var lent = FIFO<UInt>()
        /// Where other workers of this machine read frames, and slots of it that nobody has had.
        var memory: FrameMemory?
        var freshSlots = 0..<0
        var counts = Counts()
        /// With a permit.
        var contributions = 0

        /// A buffer that its readers are done with; looks at a few of the oldest.
        mutating func returned() -> UInt? {
            for _ in 0..<min(lent.count, FramePool.lentSearch) {
                guard let address = lent.first else { return nil }
                lent.removeFirst()
                if memory?.isFree(address) != false { return address }
                lent.append(address)
            }
            return nil
        }
    }

    /// Since the pool was made.
    package struct Counts: Equatable, Sendable {
        /// Buffers that came from the system.
        package var allocated = 0
        /// Buffers given out.
        package var taken = 0
        package var inUse = 0
        package var peakInUse = 0
    }

    private let state = Mutex(State())
    /// One for each buffer that a contributor may have under way.
    private let permits: DispatchSemaphore

    /// - Parameter contributions: buffers a contributor fills before it waits for one to come back:
    ///   a large model is encoded at the pace of sending, not all at once.
    package init(contributions: Int = FramePool.contributionLimit) {
        permits = DispatchSemaphore(value: contributions)
    }

    deinit {
        // SAFETY: every buffer retains its pool, so all memory is idle now, and nobody else frees it.
        state.withLock { state in
            for address in state.idle where state.memory?.contains(address) != true {
                unsafe UnsafeMutableRawPointer(bitPattern: address)?.deallocate()
            }
        }
    }

    package var counts: Counts { state.withLock { $0.counts } }

    /// An unsealed buffer for a contribution; waits while too many are under way, but never for long:
    /// a peer that stands still must not hold the contributor up.
    package func takeForContribution() -> FrameBuffer {
        let isPermitted = permits.wait(timeout: .now() + Self.patience) == .success
        return take(withPermit: isPermitted)
    }

    /// Whether a contributor inside a region may go on: a region's links hold little, and buffers that
    /// come back soon are still in the cache.
    package var hasContributionBuffer: Bool {
        state.withLock { $0.contributions < Self.regionContributionLimit }
    }

    /// An unsealed buffer; its bytes are what the last user left.
    package func take() -> FrameBuffer { take(withPermit: false) }

    /// From now on buffers lie, while there is room, in memory that other workers of this machine can read.
    package func share() throws -> FrameMemory {
        let memory = try FrameMemory()
        state.withLock { state in
            precondition(state.memory == nil, "shared twice")
            state.memory = memory
            state.freshSlots = 0..<FrameMemoryLayout.slots
        }
        return memory
    }

    fileprivate func shares(_ address: UInt) -> Bool {
        state.withLock { $0.memory?.contains(address) == true }
    }

    private func take(withPermit: Bool) -> FrameBuffer {
        let address = state.withLock { state in
            state.counts.taken += 1
            state.counts.inUse += 1
            if withPermit { state.contributions += 1 }
            state.counts.peakInUse = max(state.counts.peakInUse, state.counts.inUse)
            if let idle = state.idle.popLast() ?? state.returned() { return UInt?.some(idle) }
            state.counts.allocated += 1
            return state.freshSlots.popFirst().flatMap { state.memory?.address(of: $0) }
        }
        // SAFETY: idle memory belongs to nobody; fresh memory is initialised before it is lent.
        if let address, let memory = unsafe UnsafeMutableRawPointer(bitPattern: address) {
            return unsafe FrameBuffer(memory, self, hasPermit: withPermit)
        }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.bufferBytes, alignment: 64)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.bufferBytes)
        return unsafe FrameBuffer(memory, self, hasPermit: withPermit)
    }

    fileprivate func giveBack(_ address: UInt, withPermit: Bool) {
        if withPermit { permits.signal() }
        let surplus = state.withLock { state -> UInt? in
            state.counts.inUse -= 1
            if withPermit { state.contributions -= 1 }
            if let memory = state.memory, memory.contains(address) {
                if memory.isFree(address) {
                    state.idle.append(address)
                } else {
                    state.lent.append(address)
                }
                return nil
            }
            guard state.idle.count < Self.idleLimit else { return address }
            state.idle.append(address)
            return nil
        }
        // SAFETY: the buffer that owned it is gone.
        if let surplus { unsafe UnsafeMutableRawPointer(bitPattern: surplus)?.deallocate() }
    }
}

extension MutableSpan<UInt8> {
    /// Copies `source`, which has the same length.
    mutating func fill(with source: Span<UInt8>) {
        precondition(count == source.count, "\(source.count) bytes for \(count)")
        unsafe source.withUnsafeBytes { from in
            // SAFETY: both have the same length, and do not overlap.
            unsafe withUnsafeMutableBytes { unsafe $0.copyMemory(from: from) }
        }
    }
}

/// Memory of one frame: the payload at a fixed place, header and fields written before it when it is
/// sent.
///
///     | free | header and fields | payload ...            | free |
///     0      frame start         headRoom                        bufferBytes
///
/// Whoever took it writes the payload and hands it to the loop thread; from then on the payload does
/// not change. The loop thread writes the head once (`seal`); libzmq's threads and, for the payload,
/// the trainer's read it afterwards. The last reference gives the memory back.
@safe package final class FrameBuffer: @unchecked Sendable {
    private let memory: UnsafeMutableRawPointer
    private let pool: FramePool
    private let hasPermit: Bool
    /// The loop thread's.
    private(set) var isSealed = false

    // SAFETY: the memory has `bufferBytes` initialised bytes and belongs to this object until deinit.
    fileprivate init(
        _ memory: UnsafeMutableRawPointer, _ pool: FramePool, hasPermit: Bool
    ) {
        self.hasPermit = hasPermit
        unsafe self.memory = memory
        self.pool = pool
    }

    deinit { unsafe pool.giveBack(UInt(bitPattern: memory), withPermit: hasPermit) }

    /// The first `count` bytes of the payload, to be written by the one who took the buffer.
    package func withMutablePayload<R, E: Error>(
        _ count: Int, _ body: (inout MutableSpan<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        precondition(count <= ProtocolLimits.dataPayloadBytes, "a payload of \(count) bytes")
        // SAFETY: inside the memory; nobody reads before the buffer is handed on.
        let bytes = unsafe UnsafeMutableBufferPointer(
            start: (memory + FramePool.headRoom).assumingMemoryBound(to: UInt8.self),
            count: count)
        var span = unsafe bytes.mutableSpan
        return try body(&span)
    }

    package func withPayload<R: ~Copyable, E: Error>(
        _ count: Int, _ body: (Span<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        precondition(count <= ProtocolLimits.dataPayloadBytes, "a payload of \(count) bytes")
        // SAFETY: inside the memory, which lives as long as this object.
        let bytes = unsafe UnsafeBufferPointer(
            start: UnsafeRawPointer(memory + FramePool.headRoom).assumingMemoryBound(
                to: UInt8.self), count: count)
        defer { withExtendedLifetime(self) {} }
        return try unsafe body(bytes.span)
    }

    /// Whether other workers of this machine can read it.
    package var isShared: Bool { unsafe pool.shares(UInt(bitPattern: memory)) }

    /// A whole frame in its buffer.
    package struct Sealed {
        fileprivate let buffer: FrameBuffer
        /// Of its first byte.
        package let address: UInt
        package let count: Int
        package let medium: FrameMedium

        /// Without a copy: libzmq reads the bytes where they are.
        func message() throws -> ZeroMQ.Message {
            // SAFETY: inside the buffer's memory, which the message retains; nobody writes to it any more.
            let start = unsafe UnsafeRawPointer(bitPattern: address)
            return try unsafe ZeroMQ.Message(
                referringTo: UnsafeRawBufferPointer(start: start, count: count), owner: buffer)
        }
    }

    /// Writes the head. Once: the bytes are others' to read from then on.
    package func seal(
        _ header: FrameHeader, _ message: WireProtocol.Message, payloadCount: Int, offset: Int,
        for medium: FrameMedium
    ) throws -> Sealed {
        precondition(!isSealed && offset <= FramePool.headRoom, "sealed twice")
        isSealed = true
        // SAFETY: head and payload lie inside the memory.
        let start = unsafe memory + (FramePool.headRoom - offset)
        let frame = unsafe UnsafeMutableBufferPointer(
            start: start.assumingMemoryBound(to: UInt8.self), count: offset + payloadCount)
        var span = unsafe frame.mutableSpan
        let count = try FrameEncoder.seal(
            header: header, message: message, payloadCount: payloadCount, medium: medium,
            in: &span)
        return Sealed(
            buffer: self, address: UInt(bitPattern: start), count: count, medium: medium)
    }
}
