import ClusterModel

/// Asks a peer for `count` elements of an item; the answer is one or more STATE-CHUNKs in order.
package struct StateRequest: Hashable, Codable, Sendable {
    package var item: StateItem
    /// First element.
    package var start: UInt64
    /// Elements; 0 asks for the description of the item.
    package var count: UInt32

    package init(item: StateItem, start: UInt64, count: UInt32) {
        self.item = item
        self.start = start
        self.count = count
    }
}

extension StateRequest: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            item: try reader.value("STATE-REQUEST.item"),
            start: try reader.integer("STATE-REQUEST.start"),
            count: try reader.integer("STATE-REQUEST.count"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(item)
        writer.integer(start)
        writer.integer(count)
    }
}

/// Up to 65,536 elements of an item; the payload holds exactly `count` fp32, little-endian.
package struct StateChunk: Hashable, Codable, Sendable {
    package var item: StateItem
    /// First element.
    package var start: UInt64
    /// Elements in this frame; 0 in a description.
    package var count: UInt32
    /// Elements of the whole item; 0 if the holder has none of it.
    package var total: UInt64
    /// Last outer round applied by the holder.
    package var round: UInt32
    /// Inner steps done by the holder.
    package var step: UInt64
    /// XXH3-64 of the item's total bytes; of the index that of a REPORT.
    package var digest: UInt64

    package init(
        item: StateItem, start: UInt64, count: UInt32, total: UInt64, round: UInt32, step: UInt64,
        digest: UInt64
    ) {
        self.item = item
        self.start = start
        self.count = count
        self.total = total
        self.round = round
        self.step = step
        self.digest = digest
    }

    /// Where the payload of every STATE-CHUNK frame starts: 64 bytes of header, 41 of fields.
    package static let payloadOffset = 105
}

extension StateChunk: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            item: try reader.value("STATE-CHUNK.item"),
            start: try reader.integer("STATE-CHUNK.start"),
            count: try reader.integer("STATE-CHUNK.count", in: StateChunk.elementCounts),
            total: try reader.integer("STATE-CHUNK.total"),
            round: try reader.integer("STATE-CHUNK.round"),
            step: try reader.integer("STATE-CHUNK.step"),
            digest: try reader.integer("STATE-CHUNK.digest"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(item)
        writer.integer(start)
        try writer.integer(count, "STATE-CHUNK.count", in: StateChunk.elementCounts)
        writer.integer(total)
        writer.integer(round)
        writer.integer(step)
        writer.integer(digest)
    }

    private static let elementCounts = 0...UInt32(ProtocolLimits.chunkElements)
}
