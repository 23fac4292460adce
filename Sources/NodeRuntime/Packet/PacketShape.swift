/// What one read from a TUN device with offload holds: one packet, or several of one TCP connection
/// that share their headers ("segments"), as struct virtio_net_hdr says (Linux, virtio_net.h):
///
///     0       1          2         4          6            8             10
///     | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset | IPv4, TCP, payload
///
/// Little-endian. The kernel at the other end cuts what is left of them into packets, or hands it to
/// TCP as it is, as it does with what a network card has put together.
package struct PacketShape: Equatable {
    package static let prefix = 10
    private static let tcp4: UInt8 = 1
    /// Explicit congestion notification, on top of the type.
    private static let ecn: UInt8 = 0x80

    /// IPv4, host order; nil for anything else, which nobody forwards.
    package let destination: UInt32?
    /// Packets of which each takes its time on the link.
    package let count: Int
    /// IPv4 and TCP headers, part of each packet; 0 where there is one packet only.
    package let headerBytes: Int
    /// Payload of each packet but the last.
    package let segmentBytes: Int
    package let payloadBytes: Int
    private let ipBytes: Int

    package init(_ bytes: Span<UInt8>) {
        let packet = bytes.count - Self.prefix
        guard packet >= 20, bytes[Self.prefix] >> 4 == 4 else {
            (destination, count, headerBytes, ipBytes) = (nil, 1, 0, 0)
            (segmentBytes, payloadBytes) = (max(0, packet), max(0, packet))
            return
        }
        destination = (16..<20).reduce(0) { $0 << 8 | UInt32(bytes[Self.prefix + $1]) }
        let size = Int(bytes[4]) | Int(bytes[5]) << 8
        ipBytes = Int(bytes[Self.prefix] & 15) * 4
        let tcp = Self.prefix + ipBytes
        let headers = tcp + 12 < bytes.count ? ipBytes + Int(bytes[tcp + 12] >> 4) * 4 : packet
        guard bytes[1] & ~Self.ecn == Self.tcp4, size > 0, headers < packet else {
            (count, headerBytes, segmentBytes, payloadBytes) = (1, 0, packet, packet)
            return
        }
        headerBytes = headers
        payloadBytes = packet - headers
        segmentBytes = size
        count = (payloadBytes + size - 1) / size
    }

    /// Bytes of a packet on the link, headers included.
    package func bytes(of segment: Int) -> Int {
        headerBytes + min(segmentBytes, payloadBytes - segment * segmentBytes)
    }

    /// Where the payload of some of the segments lies in what was read.
    package func payload(of segments: Range<Int>) -> Range<Int> {
        let start = Self.prefix + headerBytes
        return start + segments.lowerBound * segmentBytes..<start
            + min(payloadBytes, segments.upperBound * segmentBytes)
    }

    /// Makes a copy of the headers fit some of the segments: lengths, sequence number, identification
    /// and checksums (RFC 1071), with FIN and PSH on the last segment and CWR on the first, where the
    /// kernel's own cutting has them.
    package func cut(_ head: inout MutableSpan<UInt8>, to segments: Range<Int>) {
        guard count > 1, segments != 0..<count else { return }
        let payload = payload(of: segments).count
        let ip = Self.prefix
        let tcp = ip + ipBytes
        if segments.count == 1 {
            head[1] = 0
            Self.set(&head, 4, 0)
        }
        Self.set(&head, ip + 2, UInt16(headerBytes + payload))
        Self.set(&head, ip + 4, Self.word(head, ip + 4) &+ UInt16(segments.lowerBound))
        Self.set(&head, ip + 10, 0)
        var sum: UInt32 = 0
        for at in stride(from: ip, to: tcp, by: 2) { sum += UInt32(Self.word(head, at)) }
        Self.set(&head, ip + 10, ~Self.folded(sum))
        let skipped = UInt32(segments.lowerBound * segmentBytes)
        var sequence = UInt32(Self.word(head, tcp + 4)) << 16 | UInt32(Self.word(head, tcp + 6))
        sequence &+= skipped
        Self.set(&head, tcp + 4, UInt16(sequence >> 16))
        Self.set(&head, tcp + 6, UInt16(truncatingIfNeeded: sequence))
        if segments.upperBound < count { head[tcp + 13] &= ~0x09 }
        if segments.lowerBound > 0 { head[tcp + 13] &= ~0x80 }
        // So far the checksum covers the pseudo header alone, of which the length has changed.
        let before = UInt16(truncatingIfNeeded: headerBytes - ipBytes + payloadBytes)
        let after = UInt16(headerBytes - ipBytes + payload)
        let pseudo = UInt32(Self.word(head, tcp + 16)) + UInt32(~before) + UInt32(after)
        Self.set(&head, tcp + 16, Self.folded(pseudo))
    }

    /// Big-endian, as in the packet.
    private static func word(_ bytes: borrowing MutableSpan<UInt8>, _ at: Int) -> UInt16 {
        UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])
    }

    private static func set(_ bytes: inout MutableSpan<UInt8>, _ at: Int, _ value: UInt16) {
        bytes[at] = UInt8(value >> 8)
        bytes[at + 1] = UInt8(truncatingIfNeeded: value)
    }

    private static func folded(_ sum: UInt32) -> UInt16 {
        let once = (sum & 0xffff) + (sum >> 16)
        return UInt16(truncatingIfNeeded: (once & 0xffff) + (once >> 16))
    }
}
