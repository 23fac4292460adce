/// A Chrome trace under construction ("Trace Event Format", JSON array form): rows of spans, instants
/// and counters, one process. chrome://tracing and Perfetto read it. Times are in nanoseconds.
package struct ChromeTrace: Sendable {
    private var lines: [String] = []

    package init() {}

    /// What a row is called.
    package mutating func row(_ row: Int, name: String) {
        add("thread_name", "M", row, "\"args\":{\"name\":\"\(Self.escaped(name))\"}")
    }

    package mutating func span(_ name: String, row: Int, start: Int64, end: Int64) {
        add(
            name, "X", row,
            "\"ts\":\(Self.microseconds(start)),\"dur\":\(Self.microseconds(max(0, end - start)))")
    }

    /// A line through all rows.
    package mutating func instant(_ name: String, at time: Int64) {
        add(name, "i", 0, "\"s\":\"g\",\"ts\":\(Self.microseconds(time))")
    }

    /// From `time` on; several values are drawn on top of each other.
    package mutating func counter(_ name: String, at time: Int64, _ values: [(String, Double)]) {
        let list = values.map { name, value in
            "\"\(Self.escaped(name))\":\(value.isFinite ? value : 0)"
        }
        add(
            name, "C", 0,
            "\"ts\":\(Self.microseconds(time)),\"args\":{\(list.joined(separator: ","))}")
    }

    package var json: String { "[\n" + lines.joined(separator: ",\n") + "\n]\n" }

    private mutating func add(_ name: String, _ phase: String, _ row: Int, _ rest: String) {
        let event = "\"name\":\"\(Self.escaped(name))\",\"ph\":\"\(phase)\",\"pid\":1"
        lines.append("{\(event),\"tid\":\(row),\(rest)}")
    }

    /// The format counts microseconds; three decimals keep the nanoseconds.
    private static func microseconds(_ nanoseconds: Int64) -> String {
        let nanoseconds = max(0, nanoseconds)
        let rest = String(nanoseconds % 1_000)
        let padding = String(repeating: "0", count: 3 - rest.count)
        return "\(nanoseconds / 1_000).\(padding)\(rest)"
    }

    private static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20: result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
    }
}
