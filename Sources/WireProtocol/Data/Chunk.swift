package import ClusterModel

/// Up to 65,536 consecutive elements of one slice, or 196,608 where a region shares them in fewer bytes: a
/// member's contribution on its way to the owner, or the mean on its way back. The encoded values are the
/// frame's payload, ``payloadOffset`` bytes after its start.
package struct Chunk: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var kind: ChunkKind
    /// Fixed by the plan.
    package var transform: TransformID
    /// Chosen by the sender; cannot change a value.
    package var stage: StageID
    /// Slice of the fragment; one per owner.
    package var slice: UInt16
    /// The contributing replica; 0 in a mean.
    package var group: UInt16
    /// Index of the chunk in the slice.
    package var position: UInt32
    /// 1 to 196,608.
    package var elements: UInt32
    /// Tokens; in a mean their sum over the contributions.
    package var weight: UInt64
    /// Who encoded these bytes; a forwarder leaves it as it is.
    package var origin: Rank
    package var flags: ChunkFlags

    package init(
        key: CollectiveKey, kind: ChunkKind, transform: TransformID, stage: StageID, slice: UInt16,
        group: UInt16, position: UInt32, elements: UInt32, weight: UInt64, origin: Rank,
        flags: ChunkFlags
    ) {
        self.key = key
        self.kind = kind
        self.transform = transform
        self.stage = stage
        self.slice = slice
        self.group = group
        self.position = position
        self.elements = elements
        self.weight = weight
        self.origin = origin
        self.flags = flags
    }

    /// Where the payload of every CHUNK frame starts: 64 bytes of header, 40 of fields. A multiple
    /// of 8.
    package static let payloadOffset = 104
}

extension Chunk: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        let key = try CollectiveKey(reading: &reader)
        let kind: ChunkKind = try reader.value("CHUNK.kind")
        let transform: TransformID = try reader.value("CHUNK.transform")
        let stage: StageID = try reader.value("CHUNK.stage")
        try reader.reserved("CHUNK.reserved15", as: UInt8.self)
        self.init(
            key: key, kind: kind, transform: transform, stage: stage,
            slice: try reader.integer("CHUNK.slice"),
            group: try reader.integer("CHUNK.group"),
            position: try reader.integer("CHUNK.position"),
            elements: try reader.integer("CHUNK.elements", in: Chunk.elementCounts),
            weight: try reader.integer("CHUNK.weight"),
            origin: try reader.rank("CHUNK.origin"),
            flags: try ChunkFlags(reading: &reader))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.value(kind)
        writer.value(transform)
        writer.value(stage)
        writer.reserved(as: UInt8.self)
        writer.integer(slice)
        writer.integer(group)
        writer.integer(position)
        try writer.integer(elements, "CHUNK.elements", in: Chunk.elementCounts)
        writer.integer(weight)
        writer.rank(origin)
        try flags.write(to: &writer)
    }

    private static let elementCounts = 1...UInt32(ProtocolLimits.chunkElementsMost)
}

package struct ChunkFlags: OptionSet, Hashable, Codable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    /// In a region-scope contribution: the sender knows that the previous outer round is committed,
    /// so that the fragment may leave at this step. In the mean: all contributions said so.
    package static let mayLeave = ChunkFlags(rawValue: 1)
    static let defined: ChunkFlags = [.mayLeave]
}

extension ChunkFlags: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        let offset = reader.position
        self.init(rawValue: try reader.integer("CHUNK.flags"))
        try check(at: offset)
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try check(at: writer.position)
        writer.integer(rawValue)
    }

    private func check(at offset: Int) throws(FrameError) {
        guard isSubset(of: .defined) else {
            throw .undefinedFlags(
                offset: offset, allowed: ChunkFlags.defined.rawValue, got: rawValue)
        }
    }
}

/// Asks a peer for one chunk it holds; the answer is a CHUNK.
package struct Pull: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var kind: ChunkKind
    package var slice: UInt16
    package var position: UInt32

    package init(key: CollectiveKey, kind: ChunkKind, slice: UInt16, position: UInt32) {
        self.key = key
        self.kind = kind
        self.slice = slice
        self.position = position
    }
}

extension Pull: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        let key = try CollectiveKey(reading: &reader)
        let kind: ChunkKind = try reader.value("PULL.kind")
        try reader.reserved("PULL.reserved13", as: UInt8.self)
        self.init(
            key: key, kind: kind, slice: try reader.integer("PULL.slice"),
            position: try reader.integer("PULL.position"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.value(kind)
        writer.reserved(as: UInt8.self)
        writer.integer(slice)
        writer.integer(position)
    }
}
