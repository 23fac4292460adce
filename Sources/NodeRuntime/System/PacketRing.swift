internal import CLinux
internal import Glibc

/// Packets of one direction of a link, oldest first, in one block of memory. What one read brought
/// stays together, unless some of it was lost.
///
///     [ . . . | packets | packets | packets | . . . ]   an entry is never split: where it does not
///               ^ head                      ^ tail      fit before the end it starts at 0 again
@safe final class PacketRing {
    struct Entry {
        var deliver: Int64
        var length: Int
        var offset: Int
        /// On the link: headers of every packet counted.
        var wireBytes: Int
        /// Region it goes to, which may lie beyond this link.
        var destination: Int
    }

    private let memory: UnsafeMutableRawBufferPointer
    private let size: Int
    private var entries = FIFO<Entry>()
    private var tail = 0
    /// Start of the oldest packet; equal to `tail` only when empty.
    private var head = 0

    init(bytes: Int) {
        size = bytes
        unsafe memory = .allocate(byteCount: bytes, alignment: 64)
    }

    deinit { unsafe memory.deallocate() }

    var earliest: Int64 { entries.first?.deliver ?? .max }

    /// The oldest entry.
    var first: Entry? { entries.first }

    /// Copies segments of a packet to the end; false when there is no room.
    func append(
        _ packet: PacketBuffer, segments: Range<Int>, destination: Int, deliver: Int64
    ) -> Bool {
        let shape = packet.shape
        let headers = PacketShape.prefix + shape.headerBytes
        let payload = shape.payload(of: segments)
        guard let offset = room(headers + payload.count) else { return false }
        // SAFETY: `room` found that many free bytes at the offset; the ranges lie inside the packet.
        let target = unsafe memory.baseAddress.unsafelyUnwrapped + offset
        let source = unsafe packet.memory.baseAddress.unsafelyUnwrapped
        unsafe target.copyMemory(from: source, byteCount: headers)
        unsafe (target + headers).copyMemory(
            from: source + payload.lowerBound, byteCount: payload.count)
        var head = unsafe MutableSpan<UInt8>(
            _unsafeStart: target.assumingMemoryBound(to: UInt8.self), count: headers)
        shape.cut(&head, to: segments)
        entries.append(
            Entry(
                deliver: deliver, length: headers + payload.count, offset: offset,
                wireBytes: payload.count + segments.count * shape.headerBytes,
                destination: destination))
        tail = offset + headers + payload.count
        return true
    }

    private func room(_ count: Int) -> Int? {
        guard !entries.isEmpty else {
            head = 0
            tail = 0
            return count < size ? 0 : nil
        }
        if tail > head {
            if size - tail >= count { return tail }
            return count < head ? 0 : nil
        }
        return head - tail > count ? tail : nil
    }

    /// Writes the oldest entry to a device and forgets it; the device drops it when it is full.
    func deliverFirst(to descriptor: Int32) -> Bool {
        guard let entry = entries.first else { return false }
        // SAFETY: the entry lies inside the block.
        let written = unsafe write(
            descriptor, memory.baseAddress.unsafelyUnwrapped + entry.offset, entry.length)
        removeFirst()
        return written == entry.length
    }

    /// Moves the oldest entry into a buffer, for its next link.
    func moveFirst(to packet: PacketBuffer) {
        guard let entry = entries.first else { return }
        unsafe packet.fill(
            UnsafeRawBufferPointer(
                start: memory.baseAddress.unsafelyUnwrapped + entry.offset, count: entry.length))
        removeFirst()
    }

    private func removeFirst() {
        entries.removeFirst()
        if let next = entries.first { head = next.offset } else { head = tail }
    }
}

/// What one read from a device brought.
@safe final class PacketBuffer {
    /// The largest IPv4 packet and what the kernel says of it.
    static let size = 65_535 + PacketShape.prefix
    fileprivate let memory: UnsafeMutableRawBufferPointer
    private(set) var shape = PacketShape(Span<UInt8>())

    init() {
        unsafe memory = .allocate(byteCount: Self.size, alignment: 64)
    }

    deinit { unsafe memory.deallocate() }

    /// Reads what comes next; false when there is nothing.
    func read(from device: TunDevice) -> Bool {
        // SAFETY: the block is ours and has that size.
        let count = unsafe Glibc.read(device.descriptor, memory.baseAddress, Self.size)
        guard count > 0 else { return false }
        look(at: count)
        return true
    }

    fileprivate func fill(_ bytes: UnsafeRawBufferPointer) {
        unsafe memory.copyMemory(from: bytes)
        look(at: bytes.count)
    }

    private func look(at count: Int) {
        // SAFETY: the first `count` bytes have been written.
        unsafe shape = PacketShape(
            Span(
                _unsafeStart: memory.baseAddress.unsafelyUnwrapped.assumingMemoryBound(
                    to: UInt8.self), count: count))
    }
}
