import ClusterModel

/// Writes a run's trainer intervals and commits as Chrome trace JSON (the "Trace Event Format", JSON
/// array form): one row per worker; chrome://tracing and Perfetto read it.
package enum ChromeTrace {
    package static func json(_ result: SimulationResult, names: [String]) -> String {
        var lines = names.enumerated().map { seat, name in
            "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":\(seat),"
                + "\"args\":{\"name\":\"\(escaped(name))\"}}"
        }
        for interval in result.intervals {
            lines.append(
                "{\"name\":\"\(interval.name)\",\"ph\":\"X\",\"pid\":1,\"tid\":\(interval.worker),"
                    + "\"ts\":\(microseconds(interval.start)),"
                    + "\"dur\":\(microseconds(interval.end - interval.start))}")
        }
        for stamped in result.events {
            guard case .roundCommitted(let key, _, _, _) = stamped.event else { continue }
            lines.append(
                "{\"name\":\"commit of round \(key.round)\",\"ph\":\"i\",\"s\":\"g\",\"pid\":1,"
                    + "\"tid\":0,\"ts\":\(microseconds(stamped.time.nanoseconds))}")
        }
        return "[\n" + lines.joined(separator: ",\n") + "\n]\n"
    }

    /// The format counts microseconds; three decimals keep the nanoseconds.
    private static func microseconds(_ nanoseconds: Int64) -> String {
        let rest = String(nanoseconds % 1_000)
        let padding = String(repeating: "0", count: 3 - rest.count)
        return "\(nanoseconds / 1_000).\(padding)\(rest)"
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default: result.append(character)
            }
        }
    }
}
