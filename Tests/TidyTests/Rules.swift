/// What docs/architecture.md and the style of the house fix mechanically, as data.
enum Rules {
    /// Our modules and what each may import. A module that is not listed fails the test; one that is
    /// listed and not there yet is skipped.
    static let imports: [(module: String, permitted: [String])] = [
        ("ClusterModel", []),
        ("ClusterFile", ["ClusterModel", "Yams", "Foundation"]),
        ("WireProtocol", ["ClusterModel", "CXXHash"]),
        ("ZeroMQ", ["CZeroMQ", "CLinux", "Glibc", "Synchronization"]),
        ("ReductionKernels", []),
        (
            "Reduction",
            ["ReductionKernels", "ReductionAVX2", "ReductionAVX512", "CProcessor", "Glibc"]
        ),
        ("ReductionAVX2", ["ReductionKernels"]),
        ("ReductionAVX512", ["ReductionKernels"]),
        (
            "Compression",
            ["ClusterModel", "Reduction", "ReductionKernels", "CLZ4", "CZstd", "CXXHash"]
        ),
        ("ExpertRouting", ["ClusterModel"]),
        ("Coordination", ["ClusterModel", "WireProtocol", "ExpertRouting", "DequeModule"]),
        ("TrainingKernels", ["Glibc"]),
        ("TrainingAVX2", ["TrainingKernels"]),
        ("TrainingAVX512", ["TrainingKernels"]),
        (
            "Training",
            [
                "ClusterModel", "Reduction", "ExpertRouting", "TrainingKernels", "TrainingAVX2",
                "TrainingAVX512", "CBLAS", "CZlib", "Glibc",
            ]
        ),
        (
            "NodeRuntime",
            [
                "ClusterModel", "ClusterFile", "WireProtocol", "Coordination", "ExpertRouting",
                "Compression", "Reduction", "Training", "ZeroMQ", "CLinux", "CProcessor",
                "DequeModule", "Foundation", "FoundationEssentials", "Glibc", "Synchronization",
            ]
        ),
        (
            "Simulation",
            [
                "ClusterModel", "WireProtocol", "Coordination", "ExpertRouting", "Compression",
                "Reduction", "Training", "DequeModule", "HeapModule",
            ]
        ),
        ("RunRecord", ["ClusterModel", "GRDB", "FlyingFox", "Foundation"]),
        (
            "LonghaulCommands",
            [
                "ClusterModel", "ClusterFile", "WireProtocol", "Coordination", "Compression",
                "Reduction", "ReductionKernels", "Training", "ExpertRouting", "NodeRuntime",
                "Simulation", "RunRecord", "ZeroMQ", "ArgumentParser", "Foundation", "Glibc",
                "Synchronization",
            ]
        ),
        ("longhaul", ["LonghaulCommands"]),
        ("longhaul-coordinator", ["LonghaulCommands"]),
        ("longhaul-worker", ["LonghaulCommands"]),
    ]

    /// Modules whose every decision must come out the same under both drivers.
    static let deterministic = [
        "ClusterModel", "WireProtocol", "ExpertRouting", "Coordination", "Simulation",
    ]
    /// Regular expressions of what reads a clock, a generator, a hash order or a scheduler.
    static let bannedInDeterministic: [(pattern: String, reason: String)] = [
        (#"\bDate\b"#, "time is an argument"),
        (
            #"\b(ContinuousClock|SuspendingClock|DispatchTime|clock_gettime)\b"#,
            "time is an argument"
        ),
        (#"\bUUID\s*\("#, "identities are arguments"),
        (#"\bSystemRandomNumberGenerator\b"#, "use SeededGenerator"),
        (#"\.random\s*\("#, "use SeededGenerator"),
        (#"\.shuffled\s*\(\s*\)"#, "use SeededGenerator"),
        (#"\.randomElement\s*\(\s*\)"#, "use SeededGenerator"),
        (#"\b(Task|async|await)\b"#, "machines do not suspend"),
        (#"\bFoundation\b"#, "no Foundation in machines"),
        (#"\b(hashValue|Hasher)\b"#, "hashes differ between processes"),
    ]
    /// Modules in which every case of our enums is written out.
    static let exhaustive = ["Coordination"]

    /// Where `unsafe` may be written, by path prefix. In each file that does, at least one comment
    /// "SAFETY:" says why its uses are right.
    static let unsafeRooms: [(prefix: String, reason: String)] = [
        ("Sources/ZeroMQ/", "libzmq's C interface"),
        ("Sources/Compression/", "LZ4, zstd and the kernels' operands"),
        ("Sources/ReductionKernels/", "inner loops"),
        ("Sources/Reduction/", "inner loops"),
        ("Sources/ReductionAVX2/", "inner loops"),
        ("Sources/ReductionAVX512/", "inner loops"),
        ("Sources/TrainingKernels/", "inner loops"),
        ("Sources/TrainingAVX2/", "inner loops"),
        ("Sources/TrainingAVX512/", "inner loops"),
        ("Sources/Training/BLAS/", "BLAS calls"),
        ("Sources/Training/Checkpoint/", "reads and writes tensors in place"),
        ("Sources/Training/Data/", "zlib and file reads"),
        ("Sources/WireProtocol/Checksum.swift", "xxh3"),
        ("Sources/NodeRuntime/Buffers/", "payload memory"),
        ("Sources/NodeRuntime/System/", "system calls"),
    ]

    static let fileLines = 500
    static let functionLines = 70
    /// `swift format lint` holds code to 100 columns; this holds comments, which it leaves alone, to a
    /// word or two more.
    static let columns = 110

    /// In no Swift file, not even in a comment.
    static let bannedEverywhere: [(pattern: String, reason: String)] = [
        (#"\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b"#, "do it or write an issue"),
        (#"@test[a]ble"#, "tests use package access"),
    ]

    /// Never under version control: exact paths, then suffixes.
    static let untrackedPaths = ["Package.resolved"]
    static let untrackedSuffixes = [".whl", ".o", ".so", ".a", ".sqlite", ".safetensors", ".pyc"]
}
