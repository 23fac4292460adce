internal import ClusterModel

/// When the coordinator closes rounds of a `decoupled` schedule.
extension FileReader {
    /// Without a nominal step there is nothing to take a quarter of.
    private static let graceMost = Interval.seconds(2)
    private static let graceFactor = 3.0
    private static let staleness = 0.5

    func refuseClosing(
        _ schedule: RunConfiguration.Schedule, _ section: Section
    ) -> Bool {
        var accepted = true
        for key in Self.closingKeys where section.line(of: key) != nil {
            accepted = false
            section.refuse(
                key,
                "`\(key)` would do nothing: under `\(schedule.outer.rawValue)` all replicas are in "
                    + "every round",
                expected: "`\(key)` only with `outer: decoupled`", example: "outer: decoupled")
        }
        return accepted
    }

    func readClosing(
        _ schedule: inout RunConfiguration.Schedule, _ section: Section, _ topology: Topology?,
        _ model: RunConfiguration.Model?
    ) -> Bool {
        guard model?.experts == nil else {
            section.refuse(
                "outer", "`decoupled` does not exchange the gates' state of a model with experts",
                expected: "`outer: diloco` with `experts`", example: "outer: diloco")
            return false
        }
        let replicas =
            topology.map { schedule.inner == .everyStep ? $0.regions.count : $0.seats.count } ?? 2
        let quorum = section.value(
            .count(
                "quorum", 1...max(1, replicas),
                of: "replicas without which no round is closed", example: (replicas + 1) / 2))
        let factor = section.value(
            .number("grace_k", 0...100, of: "k of median + k MAD", example: "3"))
        let most = section.value(
            .duration("grace_most", of: "the longest grace", example: "2 s"))
        let staleness = section.value(
            .number(
                "staleness", 0.001...1,
                of: "the share of its weight that a contribution keeps for each round it missed",
                example: "0.5"))
        let given: [(String, Bool)] = [
            ("quorum", quorum != nil), ("grace_k", factor != nil), ("grace_most", most != nil),
            ("staleness", staleness != nil),
        ]
        guard !given.contains(where: { section.line(of: $0.0) != nil && !$0.1 }) else {
            return false
        }
        let least = quorum ?? (replicas + 1) / 2
        guard fitsQuorum(least, replicas, section) else { return false }
        schedule.closing = ClosingRules(
            quorum: least, graceFactor: Self.thousandths(factor ?? Self.graceFactor),
            graceMost: most ?? Self.defaultGrace(schedule, topology),
            lateWeight: Self.thousandths(staleness ?? Self.staleness))
        return true
    }

    /// Where everybody is needed nobody is late.
    private func fitsQuorum(_ quorum: Int, _ replicas: Int, _ section: Section) -> Bool {
        guard quorum == replicas else { return true }
        var accepted = true
        for key in Self.closingKeys where key != "quorum" && section.line(of: key) != nil {
            accepted = false
            section.refuse(
                key,
                "`\(key)` would do nothing: with `quorum: \(quorum)` every round takes in all "
                    + "\(replicas) replicas, however late",
                expected: "`\(key)` only with a smaller quorum",
                example: "quorum: \((replicas + 1) / 2)")
        }
        return accepted
    }

    private static func thousandths(_ value: Double) -> UInt32 {
        UInt32((value * 1_000).rounded())
    }

    /// A quarter of the time in which the fastest worker takes its steps of a round.
    private static func defaultGrace(
        _ schedule: RunConfiguration.Schedule, _ topology: Topology?
    ) -> Interval {
        let steps = topology?.seats.map(\.worker.nominalStep).filter { $0 > .zero }
        guard let fastest = steps?.min() else { return graceMost }
        return Interval(
            nanoseconds: max(1, fastest.nanoseconds * Int64(schedule.syncEvery) / 4))
    }
}
