internal import ClusterModel

/// A key with a scalar value: how to read it, and what to say when it cannot be read.
struct Field<Value> {
    let key: String
    /// Completes "expected: ".
    let expected: String
    /// A value that would be accepted.
    let example: String
    let parse: (String) -> Value?
}

extension Field where Value == Int {
    static func count(
        _ key: String, _ range: ClosedRange<Int>, of what: String, example: Int
    ) -> Field {
        Field(
            key: key,
            expected: "\(what), a whole number from \(range.lowerBound) to "
                + "\(Figures.grouped(UInt64(range.upperBound)))",
            example: "\(example)"
        ) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension Field where Value == Double {
    static func number(
        _ key: String, _ range: ClosedRange<Double>, of what: String, example: String
    ) -> Field {
        Field(
            key: key,
            expected: "\(what), a number from \(range.lowerBound) to \(range.upperBound)",
            example: example
        ) { text in
            Double(text).flatMap { $0.isFinite && range.contains($0) ? $0 : nil }
        }
    }

    static func kilometres(_ key: String) -> Field {
        Field(
            key: key,
            expected: "a distance above 0 with its unit (m, km), at most "
                + "\(Figures.grouped(Limits.kilometres)) km",
            example: "1500 km"
        ) { text in
            Quantity.parse(text, units: Quantity.kilometres)
                .flatMap { $0 > 0 && $0 <= Limits.kilometres ? $0 : nil }
        }
    }
}

extension Field where Value == Interval {
    /// - Parameter zeroAllowed: whether `0 s` means something for this key.
    static func duration(
        _ key: String, of what: String, example: String, zeroAllowed: Bool = false
    ) -> Field {
        Field(
            key: key,
            expected: "\(what), a time \(zeroAllowed ? "of 0 s or more" : "above 0") with its unit "
                + "(us, ms, s, min, h), at most 24 h",
            example: example
        ) { text in
            guard let value = Quantity.parse(text, units: Quantity.nanoseconds),
                value <= Limits.nanoseconds, zeroAllowed || value >= 1
            else { return nil }
            return Interval(nanoseconds: Int64(value.rounded()))
        }
    }
}

extension Field where Value == UInt64 {
    /// Bits per second; `unlimited` reads as 0.
    static func bitRate(_ key: String) -> Field {
        Field(
            key: key,
            expected: "the rate in each direction with its unit (kbit/s, Mbit/s, Gbit/s), from "
                + "1 kbit/s to 1 Tbit/s, or `unlimited`",
            example: "200 Mbit/s"
        ) { text in
            if text == "unlimited" { return 0 }
            let range = Limits.bitsPerSecondLeast...Limits.bitsPerSecondMost
            return Quantity.parse(text, units: Quantity.bitsPerSecond)
                .flatMap { range.contains($0) ? UInt64($0.rounded()) : nil }
        }
    }

    static func integer(_ key: String, of what: String, example: String) -> Field {
        Field(key: key, expected: what, example: example) { UInt64($0) }
    }
}

extension Field where Value == Bool {
    static func flag(_ key: String, of what: String) -> Field {
        Field(key: key, expected: "\(what), `true` or `false`", example: "true") {
            $0 == "true" ? true : $0 == "false" ? false : nil
        }
    }
}

extension Field where Value == String {
    static func name(_ key: String, of what: String, example: String) -> Field {
        Field(
            key: key, expected: "\(what), 1 to \(Limits.nameBytes) of A-Z a-z 0-9 . _ -",
            example: example
        ) { isName($0) ? $0 : nil }
    }

    static func isName(_ text: String) -> Bool {
        (1...Limits.nameBytes).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch UInt8(byte) {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                    UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

extension Field {
    /// One word of a closed list.
    static func choice(_ key: String, of what: String, _ values: [(String, Value)]) -> Field {
        let words = values.map { "`\($0.0)`" }.joined(separator: ", ")
        return Field(
            key: key, expected: "\(what), one of \(words)", example: values.first?.0 ?? ""
        ) { text in
            values.first { $0.0 == text }?.1
        }
    }
}
