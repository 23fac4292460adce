/// Reads a number with its unit, `200 Mbit/s`. The space may be left out, the unit may not.
enum Quantity {
    typealias Units = [(name: String, factor: Double)]

    static let kilometres: Units = [("km", 1), ("m", 1e-3)]
    static let nanoseconds: Units = [
        ("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9),
    ]
    static let bitsPerSecond: Units = [
        ("bit/s", 1), ("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9), ("Tbit/s", 1e12),
    ]
    static let bytes: Units = [
        ("B", 1), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("KiB", 0x1p10), ("MiB", 0x1p20),
        ("GiB", 0x1p30),
    ]

    /// The value in the base unit, or `nil` when the text is not a plain decimal number of zero or
    /// more followed by one of the units.
    static func parse(_ text: String, units: Units) -> Double? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        guard digits.first?.isNumber == true, digits.last?.isNumber == true,
            let number = Double(digits), number.isFinite,
            let factor = units.first(where: { $0.name == unit })?.factor
        else { return nil }
        return number * factor
    }
}
