import ClusterModel

/// Frame to bytes. Refuses what ``FrameDecoder`` would refuse, with the same errors.
package enum FrameEncoder {
    /// A whole frame of a message without payload.
    package static func encode(
        header: FrameHeader, message: Message
    ) throws(FrameError) -> [UInt8] {
        try encode(header: header, message: message, payload: Span())
    }

    /// A whole frame; copies the payload. For chunks prefer ``seal(header:message:payloadCount:in:)``.
    package static func encode(
        header: FrameHeader, message: Message, payload: Span<UInt8>
    ) throws(FrameError) -> [UInt8] {
        var frame = try head(header: header, message: message, payloadCount: payload.count)
        let payloadStart = frame.position
        frame.append(payload)
        try message.checkPayload(payloadStart..<frame.position, of: frame.bytes.span)
        frame.overwrite(Checksum.frame(frame.bytes.span), at: HeaderOffset.checksum)
        return frame.bytes
    }

    /// Completes a frame in place: the payload already stands in `buffer`, from the message's
    /// `payloadOffset` on (``Chunk/payloadOffset``, ``StateChunk/payloadOffset``); header and fields
    /// are written before it, then the checksum. Returns the frame's length; a buffer shorter than
    /// that is a programming error, a longer one is not touched beyond it.
    package static func seal(
        header: FrameHeader, message: Message, payloadCount: Int,
        medium: FrameMedium = .wire, in buffer: inout MutableSpan<UInt8>
    ) throws(FrameError) -> Int {
        let head = try head(header: header, message: message, payloadCount: payloadCount).bytes
        let total = head.count + payloadCount
        precondition(
            buffer.count >= total, "a frame of \(total) bytes does not fit \(buffer.count)")
        for index in head.indices { buffer[index] = head[index] }
        try message.checkPayload(head.count..<total, of: buffer.span)
        let checksum = Checksum.frame(
            buffer.span.extracting(0..<total), payload: payloadCount, in: medium)
        buffer.storeLittleEndian(checksum, at: HeaderOffset.checksum)
        return total
    }

    /// Header, its checksum zero, and fields.
    private static func head(
        header: FrameHeader, message: Message, payloadCount: Int
    ) throws(FrameError) -> ByteWriter {
        let type = message.type
        try type.checkFlags(header.flags)
        var writer = ByteWriter()
        // Most messages have fewer than 192 bytes of fields.
        writer.reserve(ProtocolLimits.headerBytes + 192)
        writeHeader(header, type, payloadCount: payloadCount, to: &writer)
        try message.fields.write(to: &writer)

        let metaCount = writer.position - ProtocolLimits.headerBytes
        try type.checkLengths(meta: metaCount, payload: payloadCount)
        let limits = type.isPermitted(on: .control) ? FrameLimits.control : .data
        guard writer.position + payloadCount <= limits.frameBytes else {
            throw .frameTooLarge(
                limit: limits.frameBytes, got: writer.position + payloadCount)
        }
        writer.overwrite(UInt32(metaCount), at: HeaderOffset.metaLength)
        return writer
    }

    private static func writeHeader(
        _ header: FrameHeader, _ type: MessageType, payloadCount: Int, to writer: inout ByteWriter
    ) {
        writer.integer(ProtocolLimits.magic)
        writer.integer(ProtocolLimits.version)
        writer.value(type)
        writer.integer(header.flags.rawValue)
        writer.integer(header.run.rawValue)
        writer.integer(header.incarnation.rawValue)
        writer.integer(header.epoch.rawValue)
        writer.rank(header.rank)
        writer.integer(header.lane)
        writer.integer(header.sequence)
        // The length of the fields is known when they are written.
        writer.integer(0 as UInt32)
        writer.integer(UInt32(truncatingIfNeeded: payloadCount))
        writer.reserved(as: UInt64.self)
        // The checksum is computed over this field as zero.
        writer.integer(0 as UInt64)
    }
}
