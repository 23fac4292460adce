internal import Glibc

/// Key files: one line of Z85 after comment lines which start with `#`.
///
/// A secret is written with mode 0600, atomically, and is refused when anybody but its owner may
/// read it. Secrets are never taken from flags or the environment.
package enum CurveKeyFile {
    /// A key and its comments fit many times; anything longer is not a key file.
    private static let sizeLimit = 4096

    /// Writes the secret of `keys` to `path`, which must not exist yet unless `replacing`.
    package static func writeSecret(
        _ keys: CurveKeyPair, to path: String, replacing: Bool = false
    ) throws(ZeroMQError) {
        let text = """
            # CURVE secret key. Keep it private (mode 0600).
            # public: \(keys.publicKey.z85)
            \(keys.secretZ85)

            """
        try write(text, to: path, mode: 0o600, replacing: replacing)
    }

    /// Writes a public key to `path` (mode 0644).
    package static func writePublic(
        _ key: CurvePublicKey, to path: String, replacing: Bool = false
    ) throws(ZeroMQError) {
        try write(
            "# CURVE public key.\n\(key.z85)\n", to: path, mode: 0o644, replacing: replacing)
    }

    /// Reads a secret key file. Throws `.exposedKey` when group or others may read it.
    package static func readSecret(_ path: String) throws(ZeroMQError) -> CurveKeyPair {
        let line = try keyLine(path, isSecret: true)
        do { return try CurveKeyPair(secretZ85: line) } catch { throw inFile(path, error) }
    }

    /// Reads a public key file.
    package static func readPublic(_ path: String) throws(ZeroMQError) -> CurvePublicKey {
        let line = try keyLine(path, isSecret: false)
        do { return try CurvePublicKey(z85: line) } catch { throw inFile(path, error) }
    }

    /// A bad key names the file it stands in.
    private static func inFile(_ path: String, _ error: ZeroMQError) -> ZeroMQError {
        ZeroMQError(
            error.kind, operation: "read key file", subject: path, code: error.code,
            reason: error.reason, hint: error.hint)
    }

    private static func keyLine(_ path: String, isSecret: Bool) throws(ZeroMQError) -> String {
        let lines = try read(path, isSecret: isSecret).split(separator: "\n").filter {
            !$0.hasPrefix("#")
        }
        guard lines.count == 1, let line = lines.first else {
            throw ZeroMQError(
                .badKey, operation: "read key file", subject: path,
                reason: "expected one line with a key, found \(lines.count)",
                hint: "write it again with the keys command")
        }
        return String(line)
    }

    private static func read(_ path: String, isSecret: Bool) throws(ZeroMQError) -> String {
        // SAFETY: in this file each system call gets a Swift string or array for its duration only,
        // with the array's own count.
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .system("open key file", path) }
        defer { _ = close(file) }
        // Judged on the open file, so that it cannot be exchanged in between.
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else { throw .system("examine key file", path) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= sizeLimit else {
            throw ZeroMQError(
                .badKey, operation: "read key file", subject: path,
                reason: "not a regular file of at most \(sizeLimit) bytes")
        }
        if isSecret { try checkOwner(status, path) }
        var bytes = [UInt8](repeating: 0, count: sizeLimit)
        let count = unsafe Glibc.read(file, &bytes, bytes.count)
        guard count >= 0 else { throw .system("read key file", path) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    private static func checkOwner(_ status: stat, _ path: String) throws(ZeroMQError) {
        guard status.st_mode & 0o077 == 0 else {
            throw ZeroMQError(
                .exposedKey, operation: "read key file", subject: path,
                reason: "its mode is 0\(String(status.st_mode & 0o777, radix: 8)), "
                    + "so group or others may use it",
                hint: "run: chmod 600 '\(path)' (and make new keys if others have had access)")
        }
        guard status.st_uid == geteuid() else {
            throw ZeroMQError(
                .exposedKey, operation: "read key file", subject: path,
                reason: "it belongs to user \(status.st_uid), not to \(geteuid())",
                hint: "run as its owner, or chown the file")
        }
    }

    /// Temporary file in the same directory, synchronised, then linked or renamed into place.
    private static func write(
        _ text: String, to path: String, mode: mode_t, replacing: Bool
    ) throws(ZeroMQError) {
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        let file = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else { throw .system("create key file", temporary) }
        defer { unsafe _ = unlink(temporary) }
        var bytes = Array(text.utf8)
        let count = unsafe Glibc.write(file, bytes, bytes.count)
        // fchmod: the umask may have taken bits away, never added any.
        let failed =
            count != bytes.count || fchmod(file, mode) != 0 || fsync(file) != 0
        unsafe explicit_bzero(&bytes, bytes.count)
        let code = errno
        _ = close(file)
        if failed {
            errno = code
            throw .system("write key file", temporary)
        }
        let placed = unsafe replacing ? rename(temporary, path) : link(temporary, path)
        guard placed == 0 else {
            throw .system(
                "put in place key file", path,
                hint: errno == EEXIST ? "it exists already: remove it first if it may go" : "")
        }
    }
}
