package import ClusterModel

/// Worker to coordinator: this collective's mean is applied.
package struct Report: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    /// XXH3-64 of the fragment's outer copy and momentum (fp32 little-endian), equal on every member.
    package var digest: UInt64
    /// Inner steps done.
    package var step: UInt64
    /// Weight of this worker's contribution.
    package var tokens: UInt64

    package init(key: CollectiveKey, digest: UInt64, step: UInt64, tokens: UInt64) {
        self.key = key
        self.digest = digest
        self.step = step
        self.tokens = tokens
    }
}

extension Report: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            digest: try reader.integer("REPORT.digest"),
            step: try reader.integer("REPORT.step"),
            tokens: try reader.integer("REPORT.tokens"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.integer(digest)
        writer.integer(step)
        writer.integer(tokens)
    }
}

/// Coordinator to worker: all members reported one digest.
package struct Commit: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var digest: UInt64
    /// How many reported.
    package var members: UInt16

    package init(key: CollectiveKey, digest: UInt64, members: UInt16) {
        self.key = key
        self.digest = digest
        self.members = members
    }
}

extension Commit: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            digest: try reader.integer("COMMIT.digest"),
            members: try reader.integer("COMMIT.members"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.integer(digest)
        writer.integer(members)
    }
}

/// Coordinator to worker: the set of contributions of this collective is exactly this. Sent where
/// arrival decides the set (`decoupled`, failures); owners reduce only after it.
package struct Close: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    /// In rank order.
    package var contributions: [Contribution]

    package init(key: CollectiveKey, contributions: [Contribution]) {
        self.key = key
        self.contributions = contributions
    }

    package struct Contribution: Hashable, Codable, Sendable {
        package var rank: Rank
        /// Tokens.
        package var weight: UInt64

        package init(rank: Rank, weight: UInt64) {
            self.rank = rank
            self.weight = weight
        }
    }
}

extension Close: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            contributions: try reader.list("CLOSE.contributions", limit: ProtocolLimits.ranks))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        try writer.list(contributions, "CLOSE.contributions", limit: ProtocolLimits.ranks)
    }
}

extension Close.Contribution: ListItem {
    static let minimumBytes = 10

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            rank: try reader.rank("CLOSE.contributions.rank"),
            weight: try reader.integer("CLOSE.contributions.weight"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.rank(rank)
        writer.integer(weight)
    }
}
