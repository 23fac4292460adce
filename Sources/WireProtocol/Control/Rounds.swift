package import ClusterModel

/// Worker to coordinator: this collective's mean is applied.
package struct Report: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    /// XXH3-64 of the fragment's outer copy and momentum (fp32 little-endian), equal on every member.
    package var digest: UInt64
    /// Inner steps done.
    package var step: UInt64
    /// Sum of the weights in the mean.
    package var tokens: UInt64
    /// Samples drawn since its previous report.
    package var samples: UInt64
    /// Time its trainer computed on them.
    package var computeTime: Interval
    /// What was acknowledged since its previous report, by the receivers' region.
    package var links: [LinkMeter]
    /// Tokens of its replica that used each expert since its previous report; empty where nobody asks.
    package var experts: [ExpertLoad]

    package init(
        key: CollectiveKey, digest: UInt64, step: UInt64, tokens: UInt64, samples: UInt64 = 0,
        computeTime: Interval = .zero, links: [LinkMeter] = [], experts: [ExpertLoad] = []
    ) {
        self.key = key
        self.digest = digest
        self.step = step
        self.tokens = tokens
        self.samples = samples
        self.computeTime = computeTime
        self.links = links
        self.experts = experts
    }

    package struct ExpertLoad: Hashable, Codable, Sendable {
        /// The highest stands for more.
        package var tokens: UInt32

        package init(tokens: UInt64) { self.tokens = UInt32(clamping: tokens) }
    }

    package struct LinkMeter: Hashable, Codable, Sendable {
        package var region: RegionID
        /// Payload bytes.
        package var acknowledgedBytes: UInt64
        /// For how long they kept the link busy: for each acknowledgement the time since the one before it,
        /// or since a round trip after its frame was sent, whichever is less.
        package var busyTime: Interval

        package init(region: RegionID, acknowledgedBytes: UInt64, busyTime: Interval) {
            self.region = region
            self.acknowledgedBytes = acknowledgedBytes
            self.busyTime = busyTime
        }
    }
}

extension Report.LinkMeter: ListItem {
    static let minimumBytes = 18

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            region: RegionID(rawValue: try reader.integer("REPORT.links.region")),
            acknowledgedBytes: try reader.integer("REPORT.links.acknowledgedBytes"),
            busyTime: (try reader.instant("REPORT.links.busyTime")) - .zero)
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(region.rawValue)
        writer.integer(acknowledgedBytes)
        writer.instant(.zero + busyTime)
    }
}

extension Report.ExpertLoad: ListItem {
    static let minimumBytes = 4

    init(reading reader: inout ByteReader) throws(FrameError) {
        tokens = try reader.integer("REPORT.experts.tokens")
    }

    func write(to writer: inout ByteWriter) throws(FrameError) { writer.integer(tokens) }
}

extension Report: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            digest: try reader.integer("REPORT.digest"),
            step: try reader.integer("REPORT.step"),
            tokens: try reader.integer("REPORT.tokens"),
            samples: try reader.integer("REPORT.samples"),
            computeTime: (try reader.instant("REPORT.computeTime")) - .zero,
            links: try reader.list("REPORT.links", limit: ProtocolLimits.links),
            experts: try reader.list("REPORT.experts", limit: ProtocolLimits.periodicExperts))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.integer(digest)
        writer.integer(step)
        writer.integer(tokens)
        writer.integer(samples)
        writer.instant(.zero + computeTime)
        try writer.list(links, "REPORT.links", limit: ProtocolLimits.links)
        try writer.list(experts, "REPORT.experts", limit: ProtocolLimits.periodicExperts)
    }
}

/// Coordinator to worker: all members reported one digest.
package struct Commit: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var digest: UInt64
    /// How many reported.
    package var members: UInt16
    /// No expert is left out of the next round, whatever its period.
    package var allExperts: Bool

    package init(
        key: CollectiveKey, digest: UInt64, members: UInt16, allExperts: Bool = false
    ) {
        self.key = key
        self.digest = digest
        self.members = members
        self.allExperts = allExperts
    }
}

extension Commit: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            digest: try reader.integer("COMMIT.digest"),
            members: try reader.integer("COMMIT.members"),
            allExperts: try reader.bool("COMMIT.allExperts"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.integer(digest)
        writer.integer(members)
        writer.bool(allExperts)
    }
}

/// Worker to coordinator: this member's replica has something to contribute to a fragment, whatever
/// round of it is closed next. It keeps the values and trains on.
package struct Offer: Hashable, Codable, Sendable {
    package var fragment: FragmentID
    /// The inner step after which the values were kept.
    package var step: UInt64
    /// Tokens the replica has trained on since it kept values before.
    package var tokens: UInt64
    /// Inner steps since then.
    package var steps: UInt64

    package init(fragment: FragmentID, step: UInt64, tokens: UInt64, steps: UInt64) {
        self.fragment = fragment
        self.step = step
        self.tokens = tokens
        self.steps = steps
    }
}

extension Offer: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            fragment: FragmentID(rawValue: try reader.integer("OFFER.fragment")),
            step: try reader.integer("OFFER.step"),
            tokens: try reader.integer("OFFER.tokens"),
            steps: try reader.integer("OFFER.steps"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(fragment.rawValue)
        writer.integer(step)
        writer.integer(tokens)
        writer.integer(steps)
    }
}

/// Coordinator to worker: the set of contributions of this collective is exactly this. Sent where
/// arrival decides the set (`decoupled`); contributors send and owners reduce only after it.
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
        /// What it counts for.
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
