internal import CLinux
internal import Glibc

/// The only way out of a region's namespace: an interface whose packets this process reads and writes.
@safe final class TunDevice {
    static let name = "longhaul0"
    /// Packets the kernel may hold until they are read: bursts of a whole window at 10 Gbit/s.
    private static let kernelQueue: Int32 = 10_000

    let descriptor: Int32

    /// - Parameters:
    ///   - address: IPv4, host order; everything of `mask` is routed here.
    init(in namespace: NetworkNamespace, address: UInt32, mask: UInt32, mtu: Int32)
        throws(RelayError)
    {
        // SAFETY: here and below texts are passed for the call.
        let opened = namespace.inside {
            unsafe open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
        }
        guard opened >= 0 else {
            throw .system(
                "open", "/dev/net/tun", hint: "packet mode needs the kernel's tun module and root")
        }
        descriptor = opened
        let code = namespace.inside { () -> Int32 in
            guard unsafe longhaul_tun_attach(opened, Self.name) == 0 else { return -1 }
            return NetworkNamespace.configure { control in
                guard
                    unsafe longhaul_interface_address(control, Self.name, address, mask) == 0
                else { return -1 }
                return unsafe longhaul_interface_up(control, Self.name, mtu, Self.kernelQueue)
            }
        }
        guard code == 0 else {
            let error = RelayError.system(
                "set up", Self.name, hint: "packet mode needs CAP_NET_ADMIN")
            throw error
        }
    }

    deinit { _ = close(descriptor) }
}

/// Packets of one direction of a link, oldest first, in one block of memory.
///
///     [ . . . | packet | packet | packet | . . . ]      a packet is never split: where it does not
///               ^ head                    ^ tail        fit before the end it starts at 0 again
@safe final class PacketRing {
    struct Entry {
        var deliver: Int64
        var length: Int
        var offset: Int
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

    /// The oldest packet's length.
    var firstLength: Int { entries.first?.length ?? 0 }
    var firstDestination: Int? { entries.first?.destination }

    /// Copies a packet to the end; false when there is no room.
    func append(_ packet: PacketBuffer, destination: Int, deliver: Int64) -> Bool {
        guard let offset = room(packet.count) else { return false }
        // SAFETY: `room` found that many free bytes at the offset.
        unsafe memory.baseAddress.unsafelyUnwrapped.advanced(by: offset).copyMemory(
            from: packet.memory.baseAddress.unsafelyUnwrapped, byteCount: packet.count)
        entries.append(
            Entry(
                deliver: deliver, length: packet.count, offset: offset, destination: destination))
        tail = offset + packet.count
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

    /// Writes the oldest packet to a device and forgets it; the device drops it when it is full.
    func deliverFirst(to descriptor: Int32) -> Bool {
        guard let entry = entries.first else { return false }
        // SAFETY: the entry lies inside the block.
        let written = unsafe write(
            descriptor, memory.baseAddress.unsafelyUnwrapped + entry.offset, entry.length)
        removeFirst()
        return written == entry.length
    }

    /// Moves the oldest packet into a buffer, for its next link.
    func moveFirst(to packet: PacketBuffer) {
        guard let entry = entries.first else { return }
        unsafe packet.memory.baseAddress.unsafelyUnwrapped.copyMemory(
            from: memory.baseAddress.unsafelyUnwrapped + entry.offset, byteCount: entry.length)
        packet.count = entry.length
        removeFirst()
    }

    private func removeFirst() {
        entries.removeFirst()
        if let next = entries.first { head = next.offset } else { head = tail }
    }
}

/// One packet as read from a device.
@safe final class PacketBuffer {
    static let size = 65_536
    fileprivate let memory: UnsafeMutableRawBufferPointer
    fileprivate(set) var count = 0

    init() {
        unsafe memory = .allocate(byteCount: Self.size, alignment: 64)
    }

    deinit { unsafe memory.deallocate() }

    /// Reads the next packet; false when there is none.
    func read(from device: TunDevice) -> Bool {
        // SAFETY: the block is ours and has that size.
        count = unsafe Glibc.read(device.descriptor, memory.baseAddress, Self.size)
        return count > 0
    }

    /// Destination of an IPv4 packet, in host order; nil for anything else.
    var destination: UInt32? {
        // SAFETY: the bytes looked at are below `count`.
        guard count >= 20, unsafe memory[0] >> 4 == 4 else { return nil }
        return (16..<20).reduce(0) { unsafe $0 << 8 | UInt32(memory[$1]) }
    }
}
