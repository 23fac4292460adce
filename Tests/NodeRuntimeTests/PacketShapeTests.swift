import NodeRuntime
import Testing

/// What the kernel hands over in one piece is counted and cut packet by packet.
@Suite struct PacketShapeTests {
    /// virtio_net_hdr, IPv4 (20 bytes), TCP (32 bytes), payload 0, 1, 2 ...
    private func piece(
        payload: Int, segment: Int, flags: UInt8 = 0x18, sequence: UInt32 = 0xffff_fc00
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 10 + 52)
        bytes[0] = 1  // checksum to be completed
        bytes[1] = 1  // TCP over IPv4
        (bytes[4], bytes[5]) = (UInt8(segment & 0xff), UInt8(segment >> 8))
        let length = 52 + payload
        let ip: [UInt8] = [
            0x45, 0, UInt8(length >> 8), UInt8(length & 0xff), 0x12, 0x34, 0x40, 0, 64, 6, 0, 0,
            10, 77, 1, 1, 10, 77, 2, 1,
        ]
        bytes.replaceSubrange(10..<30, with: ip)
        set(&bytes, 20, ~sum(bytes[10..<30]))
        set(&bytes, 34, UInt16(sequence >> 16))
        set(&bytes, 36, UInt16(truncatingIfNeeded: sequence))
        bytes[42] = 8 << 4
        bytes[43] = flags
        set(&bytes, 46, pseudo(bytes, tcp: length - 20))
        return bytes + (0..<payload).map { UInt8(truncatingIfNeeded: $0) }
    }

    private func set(_ bytes: inout [UInt8], _ at: Int, _ value: UInt16) {
        (bytes[at], bytes[at + 1]) = (UInt8(value >> 8), UInt8(value & 0xff))
    }

    private func word(_ bytes: [UInt8], _ at: Int) -> Int {
        Int(bytes[at]) << 8 | Int(bytes[at + 1])
    }

    private func sum(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        var sum = 0
        for at in stride(from: bytes.startIndex, to: bytes.endIndex, by: 2) {
            sum += Int(bytes[at]) << 8 | Int(bytes[at + 1])
        }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        return UInt16(sum)
    }

    /// RFC 793: addresses, protocol, TCP's length.
    private func pseudo(_ bytes: [UInt8], tcp: Int) -> UInt16 {
        sum((bytes[22..<30] + [0, 6, UInt8(tcp >> 8), UInt8(tcp & 0xff)])[...])
    }

    private func cut(_ bytes: [UInt8], _ segments: Range<Int>) -> [UInt8] {
        let shape = PacketShape(bytes.span)
        var head = Array(bytes[..<(PacketShape.prefix + shape.headerBytes)])
        var span = head.mutableSpan
        shape.cut(&span, to: segments)
        return head + bytes[shape.payload(of: segments)]
    }

    @Test func everyPacketCountsItsHeaders() {
        let shape = PacketShape(piece(payload: 3000, segment: 1448).span)
        #expect(shape.count == 3)
        #expect(shape.destination == 0x0a4d_0201)
        #expect((0..<3).map(shape.bytes(of:)) == [1500, 1500, 156])
    }

    @Test func onePacketIsItself() {
        var bytes = piece(payload: 100, segment: 0)
        bytes[1] = 0
        let shape = PacketShape(bytes.span)
        #expect(shape.count == 1)
        #expect(shape.bytes(of: 0) == 152)
        #expect(cut(bytes, 0..<1) == bytes)
        #expect(PacketShape([UInt8](repeating: 0x60, count: 60).span).destination == nil)
        #expect(PacketShape([UInt8](repeating: 0, count: 4).span).count == 1)
    }

    @Test(arguments: [0..<1, 1..<2, 2..<3, 0..<2, 1..<3, 0..<3])
    func aCutIsWhatTheKernelWouldHaveSent(_ segments: Range<Int>) {
        let whole = piece(payload: 3000, segment: 1448, flags: 0x99)
        let bytes = cut(whole, segments)
        let payload = min(3000, segments.upperBound * 1448) - segments.lowerBound * 1448
        #expect(bytes.count == 10 + 52 + payload)
        #expect(
            Array(bytes[62...])
                == Array(whole[(62 + segments.lowerBound * 1448)...].prefix(payload)))
        #expect(word(bytes, 12) == 52 + payload, "total length")
        #expect(word(bytes, 14) == 0x1234 + segments.lowerBound, "identification")
        #expect(sum(bytes[10..<30]) == 0xffff, "header checksum")
        let sequence = UInt32(word(bytes, 34)) << 16 | UInt32(word(bytes, 36))
        #expect(sequence == 0xffff_fc00 &+ UInt32(segments.lowerBound * 1448))
        #expect(word(bytes, 46) == Int(pseudo(bytes, tcp: 32 + payload)), "pseudo header")
        let isFirst = segments.lowerBound == 0
        let isLast = segments.upperBound == 3
        #expect(bytes[43] == 0x10 | (isLast ? 0x09 : 0) | (isFirst ? 0x80 : 0))
        #expect((bytes[1], bytes[4]) == (segments.count == 1 ? (0, 0) : (1, 0xa8)))
    }
}
