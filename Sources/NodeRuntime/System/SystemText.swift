internal import Glibc

/// The system's words for an `errno`.
enum SystemText {
    /// Of the call that has just failed.
    static var last: String { of(errno) }

    static func of(_ code: Int32) -> String {
        // SAFETY: glibc's strerror returns a NUL-terminated text, valid until this thread's next call.
        unsafe String(cString: strerror(code))
    }
}

/// Standard error as a target of `print`; unbuffered.
struct StandardError: TextOutputStream {
    mutating func write(_ text: String) {
        let bytes = Array(text.utf8)
        // SAFETY: the array holds that many bytes.
        unsafe _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
