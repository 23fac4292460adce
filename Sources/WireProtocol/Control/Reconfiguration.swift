package import ClusterModel

/// Worker to coordinator: lanes of the plan stand; this is what I hold of collectives in flight.
package struct Ready: Hashable, Codable, Sendable {
    package var planVersion: UInt32
    /// Inner steps done.
    package var step: UInt64
    package var holdings: [Holding]

    package init(planVersion: UInt32, step: UInt64, holdings: [Holding]) {
        self.planVersion = planVersion
        self.step = step
        self.holdings = holdings
    }
}

extension Ready: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            planVersion: try reader.integer("READY.planVersion"),
            step: try reader.integer("READY.step"),
            holdings: try reader.list(
                "READY.holdings", limit: ProtocolLimits.collectivesInFlight))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(planVersion)
        writer.integer(step)
        try writer.list(holdings, "READY.holdings", limit: ProtocolLimits.collectivesInFlight)
    }
}

/// How far one worker got with one collective.
package struct Holding: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var state: HoldingState

    package init(key: CollectiveKey, state: HoldingState) {
        self.key = key
        self.state = state
    }
}

extension Holding: ListItem {
    static let minimumBytes = 13

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            state: try reader.value("READY.holdings.state"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.value(state)
    }
}

/// Coordinator to worker: all are ready; what becomes of each collective in flight.
package struct Go: Hashable, Codable, Sendable {
    package var planVersion: UInt32
    package var verdicts: [Verdict]

    package init(planVersion: UInt32, verdicts: [Verdict]) {
        self.planVersion = planVersion
        self.verdicts = verdicts
    }
}

extension Go: MetaFields {
    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            planVersion: try reader.integer("GO.planVersion"),
            verdicts: try reader.list("GO.verdicts", limit: ProtocolLimits.collectivesInFlight))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        writer.integer(planVersion)
        try writer.list(verdicts, "GO.verdicts", limit: ProtocolLimits.collectivesInFlight)
    }
}

package struct Verdict: Hashable, Codable, Sendable {
    package var key: CollectiveKey
    package var verdict: VerdictKind
    /// Of the new plan: who has every mean position; ``Rank/none`` on a restart.
    package var holder: Rank

    package init(key: CollectiveKey, verdict: VerdictKind, holder: Rank) {
        self.key = key
        self.verdict = verdict
        self.holder = holder
    }
}

extension Verdict: ListItem {
    static let minimumBytes = 15

    init(reading reader: inout ByteReader) throws(FrameError) {
        self.init(
            key: try CollectiveKey(reading: &reader),
            verdict: try reader.value("GO.verdicts.verdict"),
            holder: try reader.rank("GO.verdicts.holder"))
    }

    func write(to writer: inout ByteWriter) throws(FrameError) {
        try key.write(to: &writer)
        writer.value(verdict)
        writer.rank(holder)
    }
}
