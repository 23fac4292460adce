internal import CZeroMQ
internal import Glibc

/// A failed ZeroMQ or key-file operation: what was being done, to whom, why it failed, what to do.
package struct ZeroMQError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The class of the failure, for callers which decide by it.
    package enum Kind: Equatable, Sendable {
        /// Another process or socket already listens on the port.
        case portInUse
        /// The endpoint text is malformed or its transport is unknown.
        case badEndpoint
        /// An option's value is outside what the library accepts safely.
        case badOption
        /// The context is being shut down; close the socket.
        case terminating
        /// A CURVE server was about to bind without a running ZAP handler, or without a domain.
        case unprotected
        /// A key text or key file cannot be used.
        case badKey
        /// A key file may be read by others than its owner.
        case exposedKey
        /// The start-up self-test saw a stranger admitted or a friend refused.
        case selfTest
        /// A bounded wait ran out.
        case timedOut
        /// Anything else; `code` tells.
        case system
    }

    package let kind: Kind
    /// What was being done, for example "bind".
    package let operation: String
    /// To whom: an endpoint, a path, an option's name.
    package let subject: String
    /// The `errno` of the failure, 0 where no system call failed.
    package let code: Int32
    /// Why, in words.
    package let reason: String
    /// What to do next; empty when there is nothing sensible to say.
    package let hint: String

    package init(
        _ kind: Kind, operation: String, subject: String, code: Int32 = 0, reason: String,
        hint: String = ""
    ) {
        self.kind = kind
        self.operation = operation
        self.subject = subject
        self.code = code
        self.reason = reason
        self.hint = hint
    }

    package var description: String {
        var text = "\(operation) \(subject): \(reason)"
        if code != 0 { text += " (errno \(code))" }
        if !hint.isEmpty { text += "; \(hint)" }
        return text
    }

    /// The failure libzmq has just reported on this thread.
    static func last(_ operation: String, _ subject: String) -> ZeroMQError {
        let code = zmq_errno()
        return ZeroMQError(
            kind(of: code), operation: operation, subject: subject, code: code,
            reason: text(of: code), hint: hint(of: code))
    }

    /// The failure a system call has just reported on this thread.
    static func system(_ operation: String, _ subject: String, hint: String = "") -> ZeroMQError {
        let code = errno
        return ZeroMQError(
            .system, operation: operation, subject: subject, code: code, reason: text(of: code),
            hint: hint)
    }

    private static func kind(of code: Int32) -> Kind {
        switch code {
        case EADDRINUSE: .portInUse
        case EPROTONOSUPPORT, ENODEV, EADDRNOTAVAIL: .badEndpoint
        case terminated: .terminating
        default: .system
        }
    }

    private static func hint(of code: Int32) -> String {
        switch code {
        case EADDRINUSE: "the port is in use: choose another, or port * for one from the kernel"
        case ENODEV, EADDRNOTAVAIL: "the address must belong to this machine"
        case EMFILE: "raise maxSockets of the context or the limit of open files (ulimit -n)"
        default: ""
        }
    }

    private static func text(of code: Int32) -> String {
        // SAFETY: zmq_strerror returns a static, NUL-terminated text for every code.
        unsafe String(cString: zmq_strerror(code))
    }
}

/// libzmq's ETERM, which its header derives from ZMQ_HAUSNUMERO by an expression.
let terminated = Int32(ZMQ_HAUSNUMERO) + 53
