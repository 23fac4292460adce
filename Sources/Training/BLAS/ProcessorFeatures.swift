/// What the processor can do, as far as the choice of OpenBLAS's kernels needs it.
struct ProcessorFeatures: Equatable {
    var isAMD: Bool
    var flags: Set<String>

    /// Reads `/proc/cpuinfo`; without that file, or on another architecture, no flags are known.
    static func current() -> ProcessorFeatures {
        // A processor's entry is a few KiB; the first 64 KiB hold at least one whole entry.
        let bytes = (try? PlainFile.read(path: "/proc/cpuinfo", limit: 65_536)) ?? []
        return ProcessorFeatures(description: String(decoding: bytes, as: UTF8.self))
    }

    /// Parses the text of `/proc/cpuinfo`; only its first processor counts.
    init(description: String) {
        isAMD = false
        flags = []
        for line in description.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else {
                continue
            }
            if parts[0].hasPrefix("vendor_id") {
                isAMD = parts[1].hasSuffix("AuthenticAMD")
            } else if parts[0].hasPrefix("flags") {
                flags = Set(parts[1].split(separator: " ").map(String.init))
                return
            }
        }
    }

    /// A core type whose kernels use this processor's vectors, or nil if `detected` already does.
    ///
    /// Only kernel sets below AVX2 are corrected: between Haswell, Zen and SkylakeX the library's own
    /// choice may have reasons (a system that does not save the wide registers).
    func betterCoreType(than detected: String) -> String? {
        let vectorCores: Set = ["haswell", "zen", "skylakex", "cooperlake", "sapphirerapids"]
        if vectorCores.contains(detected.lowercased()) || !flags.isSuperset(of: ["avx2", "fma"]) {
            return nil
        }
        if flags.isSuperset(of: ["avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"]) {
            return "SkylakeX"
        }
        return isAMD ? "Zen" : "Haswell"
    }
}
