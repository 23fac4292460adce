internal import ClusterModel

/// One row of the validation table.
package struct LinkCheck: Codable, Equatable, Sendable {
    package enum Unit: String, Codable, Sendable {
        case milliseconds = "ms"
        case megabits = "Mbit/s"
        case seconds = "s"
        case kibibytes = "KiB"
        case index = ""
        case percent = "%"
        case packets = "packets"
    }

    /// What the measured value must be, relative to the expected one.
    package enum Rule: String, Codable, Sendable {
        case within
        case atMost = "at_most"
        case atLeast = "at_least"
    }

    package var name: String
    package var unit: Unit
    package var expected: Double
    package var measured: Double
    package var rule: Rule
    /// In the row's unit.
    package var tolerance: Double
    package var passed: Bool

    package init(
        _ name: String, _ unit: Unit, expected: Double, measured: Double, rule: Rule = .within,
        tolerance: Double
    ) {
        self.name = name
        self.unit = unit
        self.expected = expected
        self.measured = measured
        self.rule = rule
        self.tolerance = tolerance
        switch rule {
        case .within: passed = abs(measured - expected) <= tolerance
        case .atMost: passed = measured <= expected + tolerance
        case .atLeast: passed = measured >= expected - tolerance
        }
    }

    /// Within 1 ms or 5 %, whichever is more.
    static func roundTrip(
        _ name: String, expected: Double, measured: Double, rule: Rule = .within
    ) -> LinkCheck {
        LinkCheck(
            name, .milliseconds, expected: expected * 1e3, measured: measured * 1e3, rule: rule,
            tolerance: max(1, expected * 1e3 * 0.05))
    }

    /// Within 3 % of the payload rate.
    static func rate(_ name: String, expected: Double, measured: Double) -> LinkCheck {
        LinkCheck(
            name, .megabits, expected: expected / 1e6, measured: measured / 1e6,
            tolerance: 0.03 * expected / 1e6)
    }
}

/// A part of the table.
package enum LinkPart: String, Codable, CaseIterable, Sendable {
    case idle
    case jitter
    case rates
    case sharing
    case transfers
    case load
    case duplex
    case schedule
    case transit
    /// Back-pressure of the relay, losses of packet mode.
    case limits
}

/// The table of one mode.
package struct LinkVerification: Codable, Sendable {
    package var mode: LinkMode
    package var seed: UInt64
    package var seconds: Double
    package var checks: [LinkCheck]
    /// How late the emulator itself delivered at worst, over all cases, in milliseconds.
    package var worstLatenessMilliseconds: Double
    package var passed: Bool { checks.allSatisfy(\.passed) }

    package var text: String {
        TextTable.render(
            ["check", "expected", "measured", "tolerance", "unit", "verdict"],
            checks.map { check in
                let bound =
                    switch check.rule {
                    case .within: "+-"
                    case .atMost: "<= +"
                    case .atLeast: ">= -"
                    }
                return [
                    check.name, Self.number(check.expected), Self.number(check.measured),
                    bound + Self.number(check.tolerance), check.unit.rawValue,
                    check.passed ? "ok" : "FAILED",
                ]
            })
    }

    private static func number(_ value: Double) -> String { Figures.significant(value) }
}
