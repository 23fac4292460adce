/// Numbers as people read them. Every view of a run prints through these, so that the same figure
/// looks the same in a terminal, a report and an error. No locale: the point is decimal, thousands
/// are separated by commas.
package enum Figures {
    /// `1234567` -> `1,234,567`.
    package static func grouped(_ value: UInt64) -> String {
        let digits = String(value)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// `grouped` of the nearest integer; "-" for what is not finite or out of range.
    package static func grouped(_ value: Double) -> String {
        guard value.isFinite, value.magnitude < 1e18 else { return absent }
        let text = grouped(UInt64(value.magnitude.rounded()))
        return value <= -0.5 ? "-" + text : text
    }

    /// Fixed number of decimals, rounded half away from zero.
    package static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : (value > 0 ? "inf" : "-inf") }
        var scale: UInt64 = 1
        for _ in 0..<decimals { scale *= 10 }
        let scaled = (value.magnitude * Double(scale)).rounded()
        guard scaled < 1e18 else { return "\(value)" }
        let sign = value < 0 && scaled > 0 ? "-" : ""
        let units = UInt64(scaled)
        guard decimals > 0 else { return sign + String(units) }
        let fraction = String(units % scale)
        let zeros = String(repeating: "0", count: decimals - fraction.count)
        return sign + String(units / scale) + "." + zeros + fraction
    }

    /// Three significant digits without an exponent: `0.0321`, `3.21`, `32.1`, `3210`.
    package static func significant(_ value: Double) -> String {
        guard value.isFinite, value != 0 else { return fixed(value, 0) }
        var decimals = 2
        var bound = 9.995
        while value.magnitude >= bound, decimals > 0 {
            decimals -= 1
            bound *= 10
        }
        bound = 0.9995
        while value.magnitude < bound, decimals < 9 {
            decimals += 1
            bound /= 10
        }
        return fixed(value, decimals)
    }

    /// Decimal multiples, as network rates use: `486 kB`.
    package static func bytes(_ value: Double) -> String {
        scaled(value, units: ["B", "kB", "MB", "GB", "TB", "PB"])
    }

    /// `20 Mbit/s`.
    package static func bitRate(_ value: Double) -> String {
        scaled(value, units: ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s"])
    }

    /// `15 ms`, `1.52 s`, `2 min 3 s`, `1 h 2 min`.
    package static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds.magnitude < 1e18 else { return absent }
        let magnitude = seconds.magnitude
        if magnitude == 0 { return "0 s" }
        if magnitude < 1e-3 { return trimmed(seconds * 1e6) + " us" }
        if magnitude < 0.9995 { return trimmed(seconds * 1e3) + " ms" }
        if magnitude < 59.95 { return trimmed(seconds) + " s" }
        let whole = UInt64(magnitude.rounded())
        let sign = seconds < 0 ? "-" : ""
        if whole < 3600 { return "\(sign)\(whole / 60) min \(whole % 60) s" }
        return "\(sign)\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// `95.3 %`.
    package static func percent(_ share: Double) -> String {
        share.isFinite ? fixed(share * 100, 1) + " %" : absent
    }

    /// What is printed where a figure is not known.
    package static let absent = "-"

    /// `significant` without zeros that say nothing: `30`, not `30.0`.
    private static func trimmed(_ value: Double) -> String {
        var text = significant(value)
        guard text.contains(".") else { return text }
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    private static func scaled(_ value: Double, units: [String]) -> String {
        guard value.isFinite else { return absent }
        var amount = value
        var unit = 0
        while amount.magnitude >= 999.5, unit + 1 < units.count {
            amount /= 1000
            unit += 1
        }
        return (unit == 0 ? fixed(amount, 0) : trimmed(amount)) + " " + units[unit]
    }
}
