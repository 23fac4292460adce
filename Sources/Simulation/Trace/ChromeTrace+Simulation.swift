package import ClusterModel

extension ChromeTrace {
    /// A simulated run's trainer intervals and commits, one row per worker.
    package static func json(_ result: SimulationResult, names: [String]) -> String {
        var trace = ChromeTrace()
        for (seat, name) in names.enumerated() { trace.row(seat, name: name) }
        for interval in result.intervals {
            trace.span(
                interval.name, row: interval.worker, start: interval.start, end: interval.end)
        }
        for stamped in result.events {
            guard case .roundCommitted(let key, _, _, _) = stamped.event else { continue }
            trace.instant("commit of round \(key.round)", at: stamped.time.nanoseconds)
        }
        return trace.json
    }
}
