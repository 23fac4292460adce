import ClusterModel

/// Bytes to frame. Everything a peer can get wrong is found here; nothing is allocated before the
/// lengths and the checksum have been verified.
package enum FrameDecoder {
    /// Decodes one ZeroMQ message part. The checks come in the order of section 9 of the
    /// specification, so that every implementation names the same error.
    package static func decode(
        _ bytes: Span<UInt8>, limits: FrameLimits, medium: FrameMedium = .wire
    ) throws(FrameError) -> Frame {
        let type = try checkFixedPart(bytes, limits: limits)
        let flags = try checkFlags(bytes, of: type)
        let metaEnd = try checkLengths(bytes, of: type)
        let expected = Checksum.frame(bytes, payload: bytes.count - metaEnd, in: medium)
        let got: UInt64 = bytes.littleEndian(at: HeaderOffset.checksum)
        guard expected == got else { throw .checksum(expected: expected, got: got) }

        let header = readHeader(bytes, flags: flags)
        var reader = ByteReader(metaOf: bytes, to: metaEnd)
        let message = try Message(type, reading: &reader)
        try reader.finish()
        let payload = metaEnd..<bytes.count
        try message.checkPayload(payload, of: bytes)
        return Frame(header: header, message: message, payload: payload)
    }

    private static func checkFixedPart(
        _ bytes: Span<UInt8>, limits: FrameLimits
    ) throws(FrameError) -> MessageType {
        guard bytes.count >= ProtocolLimits.headerBytes else {
            throw .truncated(expected: ProtocolLimits.headerBytes, got: bytes.count)
        }
        let magic: UInt32 = bytes.littleEndian(at: HeaderOffset.magic)
        guard magic == ProtocolLimits.magic else { throw .badMagic(got: magic) }
        let version = bytes[HeaderOffset.version]
        guard version == ProtocolLimits.version else { throw .unsupportedVersion(got: version) }
        guard bytes.count <= limits.frameBytes else {
            throw .frameTooLarge(limit: limits.frameBytes, got: bytes.count)
        }
        let raw = bytes[HeaderOffset.type]
        guard let type = MessageType(rawValue: raw) else { throw .unknownType(got: raw) }
        guard type.isPermitted(on: limits.plane) else {
            throw .wrongPlane(type: type, plane: limits.plane)
        }
        return type
    }

    private static func checkFlags(
        _ bytes: Span<UInt8>, of type: MessageType
    ) throws(FrameError) -> FrameFlags {
        let flags = FrameFlags(rawValue: bytes.littleEndian(at: HeaderOffset.flags))
        try type.checkFlags(flags)
        let reserved: UInt64 = bytes.littleEndian(at: HeaderOffset.reserved)
        guard reserved == 0 else {
            throw .reservedNotZero(
                field: "header.reserved48", offset: HeaderOffset.reserved, got: reserved)
        }
        return flags
    }

    /// Returns where the meta part ends.
    private static func checkLengths(
        _ bytes: Span<UInt8>, of type: MessageType
    ) throws(FrameError) -> Int {
        let meta = Int(bytes.littleEndian(at: HeaderOffset.metaLength, as: UInt32.self))
        let payload = Int(bytes.littleEndian(at: HeaderOffset.payloadLength, as: UInt32.self))
        try type.checkLengths(meta: meta, payload: payload)
        let metaEnd = ProtocolLimits.headerBytes + meta
        guard bytes.count >= metaEnd + payload else {
            throw .truncated(expected: metaEnd + payload, got: bytes.count)
        }
        guard bytes.count == metaEnd + payload else {
            throw .excess(expected: metaEnd + payload, got: bytes.count)
        }
        return metaEnd
    }

    private static func readHeader(_ bytes: Span<UInt8>, flags: FrameFlags) -> FrameHeader {
        let run = HeaderOffset.run
        return FrameHeader(
            flags: flags, run: RunID(rawValue: bytes.littleEndian(at: run)),
            incarnation: Incarnation(rawValue: bytes.littleEndian(at: run + 8)),
            epoch: Epoch(rawValue: bytes.littleEndian(at: run + 16)),
            rank: Rank(rawValue: bytes.littleEndian(at: run + 20)),
            lane: bytes.littleEndian(at: run + 22),
            sequence: bytes.littleEndian(at: run + 24))
    }
}

extension MessageType {
    func checkFlags(_ flags: FrameFlags) throws(FrameError) {
        guard flags.isSubset(of: shape.flags) else {
            throw .undefinedFlags(
                offset: HeaderOffset.flags, allowed: shape.flags.rawValue, got: flags.rawValue)
        }
    }

    func checkLengths(meta: Int, payload: Int) throws(FrameError) {
        guard shape.meta.contains(meta) else {
            throw .metaLength(type: self, allowed: shape.meta, got: meta)
        }
        guard shape.payload.contains(payload) else {
            throw .payloadLength(type: self, allowed: shape.payload, got: payload)
        }
    }
}
