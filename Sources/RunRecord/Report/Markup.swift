internal import ClusterModel

/// Text that is markup already. Built only through these functions, so that what comes from a run
/// (names, reasons, paths) is escaped exactly once and the report is well-formed XML.
struct Markup: ExpressibleByStringInterpolation {
    var text: String

    /// Literals are markup; interpolated strings are escaped, interpolated markup is not.
    init(stringLiteral value: String) { text = value }

    init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    struct Interpolation: StringInterpolationProtocol {
        var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity)
        }

        mutating func appendLiteral(_ literal: String) { text += literal }
        mutating func appendInterpolation(_ value: String) { text += Markup.escape(value) }
        mutating func appendInterpolation(_ value: Int) { text += String(value) }
        mutating func appendInterpolation(_ markup: Markup) { text += markup.text }
        mutating func appendInterpolation(_ parts: [Markup]) {
            text += parts.map(\.text).joined(separator: "\n")
        }
        /// A coordinate: two decimals are a hundredth of a unit of the drawing.
        mutating func appendInterpolation(_ coordinate: Double) {
            text += coordinate.isFinite ? Figures.fixed(coordinate, 2) : "0"
        }
    }

    static let nothing: Markup = ""

    static func + (a: Markup, b: Markup) -> Markup {
        var sum = a
        sum.text += b.text
        return sum
    }

    /// XML's five characters; control characters that XML forbids become a visible mark.
    static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            case "\t", "\n", "\r": escaped += " "
            case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF:
                escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
