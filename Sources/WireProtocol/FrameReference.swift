/// Where a frame lies in its sender's memory: what travels instead of the frame between workers that share
/// memory (section 2.1 of the protocol). 32 bytes, one ZeroMQ message.
///
///      0  u32  magic "LHM1"          16  u32  length of the frame
///      4  u32  slot                  20  u32  reserved, zero
///      8  u32  generation            24  u64  id of the memory
///     12  u32  start in the slot
package struct FrameReference: Hashable, Codable, Sendable {
    package static let byteCount = 32
    private static let magic: UInt32 = 0x314D_484C

    package var slot: UInt32
    /// How often the slot has been offered, modulo 2^30.
    package var generation: UInt32
    package var start: UInt32
    package var length: UInt32
    package var memory: UInt64

    package init(slot: UInt32, generation: UInt32, start: UInt32, length: UInt32, memory: UInt64) {
        self.slot = slot
        self.generation = generation
        self.start = start
        self.length = length
        self.memory = memory
    }

    /// nil: these bytes are not a reference; they may be a frame.
    package init?(_ bytes: Span<UInt8>) throws(FrameError) {
        guard bytes.count >= 4, bytes.littleEndian(at: 0) == Self.magic else { return nil }
        guard bytes.count >= Self.byteCount else {
            throw .truncated(expected: Self.byteCount, got: bytes.count)
        }
        guard bytes.count == Self.byteCount else {
            throw .excess(expected: Self.byteCount, got: bytes.count)
        }
        slot = bytes.littleEndian(at: 4)
        generation = bytes.littleEndian(at: 8)
        start = bytes.littleEndian(at: 12)
        length = bytes.littleEndian(at: 16)
        memory = bytes.littleEndian(at: 24)
        let room = UInt32(FrameMemoryLayout.slotBytes)
        try FieldRule.check(
            slot, in: 0...UInt32(FrameMemoryLayout.slots - 1), "reference.slot", at: 4)
        try FieldRule.check(
            generation, in: 0...FrameMemoryLayout.lastGeneration, "reference.generation", at: 8)
        try FieldRule.check(start, in: 0...room, "reference.start", at: 12)
        try FieldRule.check(length, in: 0...(room - start), "reference.length", at: 16)
        let reserved: UInt32 = bytes.littleEndian(at: 20)
        guard reserved == 0 else {
            throw .reservedNotZero(
                field: "reference.reserved20", offset: 20, got: UInt64(reserved))
        }
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.reserve(Self.byteCount)
        writer.integer(Self.magic)
        writer.integer(slot)
        writer.integer(generation)
        writer.integer(start)
        writer.integer(length)
        writer.reserved(as: UInt32.self)
        writer.integer(memory)
        return writer.bytes
    }
}

/// The file in memory that frames lie in (section 2.1 of the protocol):
///
///          0  u64  magic "LHMEM1", 0, 0; u64 id
///         64  u64  ids of those that have opened it; 0: free
///      4,096  state of each slot: u32, 64 bytes apart
///     69,632  slots
package enum FrameMemoryLayout {
    package static let magic: UInt64 = 0x0000_314D_454D_484C
    package static let idOffset = 8
    package static let readers = 64
    package static let readerCount = 504
    package static let slots = 1_024
    package static let slotBytes = 128 + ProtocolLimits.dataPayloadBytes
    package static let states = 4_096
    package static let stateStride = 64
    package static let firstSlot = states + slots * stateStride
    package static let byteCount = firstSlot + slots * slotBytes
    package static let lastGeneration: UInt32 = 0x3FFF_FFFF
}
