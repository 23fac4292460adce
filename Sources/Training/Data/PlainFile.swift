import Glibc

/// The text of an `errno`.
func errorText(_ code: Int32) -> String {
    // SAFETY: strerror returns a null-terminated string, copied at once.
    unsafe String(cString: strerror(code))
}

/// Reads a small file as a whole.
enum PlainFile {
    struct ReadFailure: Error {
        let code: Int32
    }

    /// At most `limit` bytes from the beginning.
    static func read(path: String, limit: Int) throws(ReadFailure) -> [UInt8] {
        // SAFETY: the path is passed as a null-terminated copy for the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            throw ReadFailure(code: errno)
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: limit)
        var filled = 0
        while filled < limit {
            // SAFETY: the buffer has `limit` bytes, of which `filled` are taken.
            let got = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress! + filled, limit - filled)
            }
            if got < 0 && errno == EINTR {
                continue
            }
            if got < 0 {
                throw ReadFailure(code: errno)
            }
            if got == 0 {
                break
            }
            filled += got
        }
        bytes.removeLast(limit - filled)
        return bytes
    }
}
