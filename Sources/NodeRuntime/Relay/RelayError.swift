internal import Glibc

/// Why an emulated link could not start: what was being done, to whom, why, what to do.
package struct RelayError: Error, Equatable, Sendable, CustomStringConvertible {
    package let operation: String
    package let subject: String
    /// The `errno`, 0 where no system call failed.
    package let code: Int32
    package let reason: String
    package let hint: String

    init(_ operation: String, _ subject: String, reason: String, hint: String = "") {
        self.init(operation, subject, code: 0, reason: reason, hint: hint)
    }

    private init(
        _ operation: String, _ subject: String, code: Int32, reason: String, hint: String
    ) {
        self.operation = operation
        self.subject = subject
        self.code = code
        self.reason = reason
        self.hint = hint
    }

    package var description: String {
        var text = "link: \(operation) \(subject): \(reason)"
        if code != 0 { text += " (errno \(code))" }
        if !hint.isEmpty { text += "; \(hint)" }
        return text
    }

    /// The failure a system call has just reported on this thread.
    static func system(_ operation: String, _ subject: String, hint: String = "") -> RelayError {
        let code = errno
        return RelayError(
            operation, subject, code: code, reason: SystemText.of(code), hint: hint)
    }
}
