package import ClusterModel

/// Bytes 6 and 7 of the header; a bit not listed for the frame's type must be zero.
package struct FrameFlags: OptionSet, Hashable, Codable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    /// CHUNK only: a mean passed on by a member of the receiver's own region, not by its owner.
    package static let forwarded = FrameFlags(rawValue: 1)
}

/// What a sender chooses in the 64 bytes before every message. Magic, version, type, lengths and
/// checksum follow from the message and are written by ``FrameEncoder``.
///
///      0  u32  magic "LHL1"          32  u64  sequence
///      4  u8   version (1)           40  u32  meta length
///      5  u8   type                  44  u32  payload length
///      6  u16  flags                 48  u64  reserved, zero
///      8  u64  run                   56  u64  checksum
///     16  u64  incarnation
///     24  u32  epoch
///     28  u16  rank, 0xFFFF = none
///     30  u16  lane
package struct FrameHeader: Hashable, Codable, Sendable {
    package var flags: FrameFlags
    package var run: RunID
    /// Of the sender's process.
    package var incarnation: Incarnation
    /// The membership the sender believes in; ``Epoch/none`` before its first plan.
    package var epoch: Epoch
    /// The sender's position in that membership; ``Rank/none`` before its first plan and for the
    /// coordinator.
    package var rank: Rank
    /// Index of the connection between two peers; 0 on the control connection.
    package var lane: UInt16
    /// From 1 in each direction: of the control connection per incarnation, of a lane for the types
    /// with ``MessageType/isSequencedOnLane``; 0 for the others.
    package var sequence: UInt64

    package init(
        flags: FrameFlags = [], run: RunID, incarnation: Incarnation, epoch: Epoch, rank: Rank,
        lane: UInt16 = 0, sequence: UInt64
    ) {
        self.flags = flags
        self.run = run
        self.incarnation = incarnation
        self.epoch = epoch
        self.rank = rank
        self.lane = lane
        self.sequence = sequence
    }
}

/// Byte offsets of the header's fields.
enum HeaderOffset {
    static let magic = 0
    static let version = 4
    static let type = 5
    static let flags = 6
    static let run = 8
    static let metaLength = 40
    static let payloadLength = 44
    static let reserved = 48
    static let checksum = 56
}
