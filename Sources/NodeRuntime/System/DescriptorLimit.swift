internal import Glibc

/// The process's limit of open files, and the end of a pipe.
enum DescriptorLimit {
    /// Raises the soft limit to the hard one and returns it.
    static func raise() -> Int {
        var limit = rlimit()
        // SAFETY: here and below the kernel reads or fills a local during the call, within its size.
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 1024
        }
        limit.rlim_cur = limit.rlim_max
        unsafe _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        unsafe _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(clamping: limit.rlim_cur)
    }

    /// Whether a readable pipe has been closed at the other end; what is in it is discarded.
    static func hasEnded(_ descriptor: Int32) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 256)
        return unsafe read(descriptor, &bytes, bytes.count) <= 0
    }

    /// Puts `/dev/null` in a descriptor's place; whoever polls the old file polls it no longer.
    static func replaceByNull(_ descriptor: Int32) {
        // SAFETY: a static text.
        let null = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
        guard null >= 0 else { return }
        _ = dup2(null, descriptor)
        _ = close(null)
    }
}
