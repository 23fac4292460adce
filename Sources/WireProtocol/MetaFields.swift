package import ClusterModel

/// Typed fields in wire order: a message, an item of a list, a part of either. `init(reading:)` and
/// `write(to:)` mirror each other line by line.
protocol MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError)
    func write(to writer: inout ByteWriter) throws(FrameError)
}

protocol ListItem: MetaFields {
    /// Bytes of an item whose texts and lists are empty, so that a list's claimed count can be
    /// checked before anything is allocated.
    static var minimumBytes: Int { get }
    /// Whether it may follow `last` in a list; `offset` is where it begins.
    func check(after last: Self, at offset: Int) throws(FrameError)
}

extension ListItem {
    func check(after last: Self, at offset: Int) throws(FrameError) {}
}

extension CollectiveKey: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        let scope = try reader.value("key.scope", of: Scope.self)
        try reader.reserved("key.reserved1", as: UInt8.self)
        let region = try reader.integer("key.region", in: CollectiveKey.regions(in: scope))
        let fragment = try reader.integer("key.fragment", as: UInt16.self)
        try reader.reserved("key.reserved6", as: UInt16.self)
        self.init(
            scope: scope, region: RegionID(rawValue: region),
            fragment: FragmentID(rawValue: fragment), round: try reader.integer("key.round"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.value(scope)
        writer.reserved(as: UInt8.self)
        try writer.integer(region.rawValue, "key.region", in: CollectiveKey.regions(in: scope))
        writer.integer(fragment.rawValue)
        writer.reserved(as: UInt16.self)
        writer.integer(round)
    }

    /// Pool scope has no region, region scope must have one: one key, one encoding.
    private static func regions(in scope: Scope) -> ClosedRange<UInt16> {
        switch scope {
        case .region: 0...RegionID.none.rawValue - 1
        case .pool: RegionID.none.rawValue...RegionID.none.rawValue
        }
    }
}

extension Rank: ListItem {
    static let minimumBytes = 2

    init(reading reader: inout ByteReader) throws(FrameError) {
        self = try reader.rank("rank")
    }

    func write(to writer: inout ByteWriter) throws(FrameError) { writer.rank(self) }
}
