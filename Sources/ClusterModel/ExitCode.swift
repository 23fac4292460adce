/// Exit status of every Longhaul process; stable, one page each in docs/exit-codes.md.
package enum ExitCode: Int32, Codable, CaseIterable, Sendable {
    case ok = 0
    case usage = 2
    case quorumLost = 10
    case evicted = 11
    case digestMismatch = 12
    /// A checker of the simulator found a violation.
    case violation = 13
    case data = 65
    case unavailable = 69
    case tryAgain = 75
    case notAllowed = 77
    case configuration = 78
    case interrupted = 130
    case terminated = 143
}
