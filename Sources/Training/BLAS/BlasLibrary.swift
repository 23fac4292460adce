import CBLAS
import Glibc

/// The loaded OpenBLAS: which kernels it chose, and how to make it choose better ones.
///
/// Debian's OpenBLAS 0.3.21 takes processors newer than itself for a "Prescott" and then multiplies
/// at a fifth of their speed. `OPENBLAS_CORETYPE`, read while the library loads, mends that; a
/// program linked against the library can set it only for its successor, hence the re-execution.
package enum BlasLibrary {
    static let coreTypeVariable = "OPENBLAS_CORETYPE"
    static let markerVariable = "LONGHAUL_BLAS_REEXECUTED"

    /// The name of the kernel set in use, for example "SkylakeX".
    package static var coreName: String {
        // SAFETY: OpenBLAS returns a pointer to a constant, null-terminated string.
        unsafe openblas_get_corename().map { unsafe String(cString: $0) } ?? "unknown"
    }

    /// Sets the number of threads one product may use. Longhaul trains on one thread per worker, so
    /// that the order of additions, and with it every byte, does not depend on the machine's load.
    package static func setThreads(_ count: Int) {
        precondition((1...1024).contains(count), "1 to 1024 threads, got \(count)")
        openblas_set_num_threads(Int32(count))
    }

    /// The value of `OPENBLAS_CORETYPE` that fits this processor, or nil if the detection is right
    /// or the operator has set the variable.
    package static func suggestedCoreType() -> String? {
        if environmentValue(coreTypeVariable) != nil {
            return nil
        }
        return ProcessorFeatures.current().betterCoreType(than: coreName)
    }

    /// The same decision for a given detection and the text of `/proc/cpuinfo`.
    package static func suggestedCoreType(detected: String, processor: String) -> String? {
        ProcessorFeatures(description: processor).betterCoreType(than: detected)
    }

    /// Replaces this process by itself with the right core type if OpenBLAS misjudged the processor.
    ///
    /// Call it first in `main`: before threads exist, before sockets or files are open. Does nothing
    /// when the detection is right; never loops, since the second run finds the variable set.
    package static func reexecIfMisdetected(message: (String) -> Void) {
        guard environmentValue(markerVariable) == nil, let coreType = suggestedCoreType() else {
            return
        }
        message(
            "OpenBLAS took this processor for \"\(coreName)\"; "
                + "starting again with \(coreTypeVariable)=\(coreType)")
        reexecute(coreType: coreType, message: message)
    }

    /// Starts this program again, with the same arguments, under the given core type. Returns only
    /// if that failed or has been done before in this process.
    package static func reexecute(coreType: String, message: (String) -> Void) {
        guard environmentValue(markerVariable) == nil else {
            return
        }
        // SAFETY: called before any other thread exists (see above), so nobody reads the
        // environment meanwhile; the argument vector is the process's own, null-terminated.
        unsafe setenv(coreTypeVariable, coreType, 1)
        unsafe setenv(markerVariable, "1", 1)
        unsafe execv("/proc/self/exe", CommandLine.unsafeArgv)
        let reason = unsafe String(cString: strerror(errno))
        message(
            "could not start again (\(reason)); matrix products stay slow; "
                + "set \(coreTypeVariable)=\(coreType) in the environment")
    }

    private static func environmentValue(_ name: String) -> String? {
        // SAFETY: the string is copied before anything could change the environment.
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }
}
