package import ClusterModel

/// The region that computes an expert alone; ``RegionID/none``: every region computes it.
package struct PlanExpertOwner: Hashable, Codable, Sendable {
    package var region: RegionID

    package init(region: RegionID) { self.region = region }
}

extension PlanExpertOwner: ListItem {
    static let minimumBytes = 2

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            region: RegionID(rawValue: try reader.integer("PLAN.expertOwners.region")))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(region.rawValue)
    }
}

extension TokenBudget: ListItem {
    static let minimumBytes = 8

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            from: RegionID(rawValue: try reader.integer("PLAN.tokenBudgets.from")),
            to: RegionID(rawValue: try reader.integer("PLAN.tokenBudgets.to")),
            tokens: try reader.integer("PLAN.tokenBudgets.tokens"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(from.rawValue)
        writer.integer(to.rawValue)
        writer.integer(tokens)
    }
}
