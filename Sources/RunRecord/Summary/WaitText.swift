internal import ClusterModel

/// The sentence of a wait: for whom, since when, until when, and what happens then.
enum WaitText {
    /// Times in seconds since the coordinator started.
    static func text(
        observer: String, activity: String, names: [String], since: Double, until: Double?,
        then: String
    ) -> String {
        let end = until.map { "until \(clock($0))" } ?? "without a limit"
        return "\(observer) waits for \(whom(names)) (\(activity)) since \(clock(since)), \(end)"
            + (then.isEmpty ? "" : "; then: \(then)")
    }

    /// Of a wait that is over.
    static func over(
        observer: String, activity: String, names: [String], seconds: Double
    ) -> String {
        "\(observer) waited \(Figures.duration(max(0, seconds))) for \(whom(names)) (\(activity))"
    }

    private static func whom(_ names: [String]) -> String {
        let shown = names.prefix(8).joined(separator: ", ")
        let more = names.count > 8 ? " and \(names.count - 8) more" : ""
        return names.isEmpty ? "nobody named" : shown + more
    }

    /// `1:05.3` after the start of the coordinator.
    static func clock(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return Figures.absent }
        let tenths = UInt64((seconds * 10).rounded())
        let minutes = tenths / 600
        let rest = Figures.fixed(Double(tenths % 600) / 10, 1)
        return "\(minutes):\(rest.count < 4 ? "0" : "")\(rest)"
    }
}
