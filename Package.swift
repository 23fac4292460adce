// swift-tools-version: 6.3
import PackageDescription

/// One list of settings for every target.
let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

/// Kernel modules are optimised in every configuration: unoptimised, each instruction set's wrapper
/// would carry the shared bodies as weak symbols and the linker would keep one copy for all.
func kernels(_ march: String? = nil) -> [SwiftSetting] {
    house + [.unsafeFlags(["-O"] + (march.map { ["-Xcc", "-march=\($0)"] } ?? []))]
}

#if arch(x86_64)
    let wideReduction = ["ReductionAVX2", "ReductionAVX512"]
    let wideTraining = ["TrainingAVX2", "TrainingAVX512"]
    let wideTargets: [Target] = [
        .target(
            name: "ReductionAVX2", dependencies: ["ReductionKernels"],
            swiftSettings: kernels("x86-64-v3")),
        .target(
            name: "ReductionAVX512", dependencies: ["ReductionKernels"],
            swiftSettings: kernels("x86-64-v4")),
        .target(
            name: "TrainingAVX2", dependencies: ["TrainingKernels"],
            swiftSettings: kernels("x86-64-v3")),
        .target(
            name: "TrainingAVX512", dependencies: ["TrainingKernels"],
            swiftSettings: kernels("x86-64-v4")),
    ]
#else
    let wideReduction: [String] = []
    let wideTraining: [String] = []
    let wideTargets: [Target] = []
#endif

let package = Package(
    name: "longhaul",
    dependencies: [
        // Command lines: subcommands, validation and help from declarations.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        // Double-ended queues for lanes.
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        // SQLite with one serial owner per handle; the run record.
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        // YAML of cluster files, with line numbers for errors.
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    ],
    targets: [
        // C libraries of the system: module maps and shims, no logic.
        .systemLibrary(name: "CBLAS", path: "Sources/CBLAS"),
        .systemLibrary(name: "CLZ4", path: "Sources/CLZ4"),
        .systemLibrary(name: "CLinux", path: "Sources/CLinux"),
        .systemLibrary(name: "CProcessor", path: "Sources/CProcessor"),
        .systemLibrary(name: "CXXHash", path: "Sources/CXXHash"),
        .systemLibrary(name: "CZeroMQ", path: "Sources/CZeroMQ"),
        .systemLibrary(name: "CZlib", path: "Sources/CZlib"),
        .systemLibrary(name: "CZstd", path: "Sources/CZstd"),

        // Interval(seconds:) rounds; without Foundation nothing else links libm.
        .target(
            name: "ClusterModel", swiftSettings: house,
            linkerSettings: [.linkedLibrary("m")]),
        .target(
            name: "ClusterFile",
            dependencies: ["ClusterModel", .product(name: "Yams", package: "Yams")],
            swiftSettings: house),
        .target(name: "ZeroMQ", dependencies: ["CZeroMQ", "CLinux"], swiftSettings: house),
        .target(
            name: "WireProtocol", dependencies: ["ClusterModel", "CXXHash"], swiftSettings: house),
        .target(name: "ReductionKernels", swiftSettings: kernels()),
        .target(
            name: "Reduction",
            dependencies: ["ReductionKernels", "CProcessor"]
                + wideReduction.map { .byName(name: $0) },
            swiftSettings: kernels()),
        .target(
            name: "Compression",
            dependencies: [
                "ClusterModel", "Reduction", "ReductionKernels", "CLZ4", "CZstd", "CXXHash",
            ], swiftSettings: house),
        .target(name: "ExpertRouting", swiftSettings: house),
        .target(
            name: "Coordination",
            dependencies: [
                "ClusterModel", "WireProtocol",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: house),
        .target(
            name: "Simulation",
            dependencies: [
                "ClusterModel", "WireProtocol", "Coordination", "ExpertRouting",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ], swiftSettings: house),
        .target(name: "TrainingKernels", swiftSettings: kernels()),
        .target(
            name: "Training",
            dependencies: ["ClusterModel", "ExpertRouting", "TrainingKernels", "CBLAS", "CZlib"]
                + wideTraining.map { .byName(name: $0) },
            swiftSettings: house),
        .target(
            name: "NodeRuntime",
            dependencies: [
                "CLinux", "CProcessor", "ClusterModel", "Compression", "Coordination", "Training",
                "WireProtocol", "ZeroMQ",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: house),

        .target(
            name: "RunRecord",
            dependencies: ["ClusterModel", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: house),

        .target(
            name: "LonghaulCommands",
            dependencies: [
                "ClusterFile", "ClusterModel", "Compression", "Coordination", "ExpertRouting",
                "NodeRuntime", "Reduction", "ReductionKernels", "RunRecord", "Simulation",
                "Training",
                "WireProtocol", "ZeroMQ",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: house),
        .executableTarget(
            name: "longhaul", dependencies: ["LonghaulCommands"], swiftSettings: house),
        .executableTarget(
            name: "longhaul-coordinator", dependencies: ["LonghaulCommands"], swiftSettings: house),
        .executableTarget(
            name: "longhaul-worker", dependencies: ["LonghaulCommands"], swiftSettings: house),

        .testTarget(
            name: "ClusterFileTests", dependencies: ["ClusterFile", "ClusterModel"],
            swiftSettings: house),
        .testTarget(
            name: "ClusterModelTests", dependencies: ["ClusterModel"], swiftSettings: house),
        .testTarget(
            name: "CompressionTests",
            dependencies: ["Compression", "ClusterModel", "Reduction", "ReductionKernels"],
            swiftSettings: house),
        .testTarget(
            name: "CoordinationTests",
            dependencies: ["ClusterModel", "WireProtocol", "Coordination"], swiftSettings: house),
        .testTarget(
            name: "ExpertRoutingTests", dependencies: ["ExpertRouting"], swiftSettings: house),
        .testTarget(
            name: "NodeRuntimeTests",
            dependencies: [
                "ClusterModel", "Coordination", "NodeRuntime", "Training", "WireProtocol",
                "ZeroMQ",
            ],
            swiftSettings: house),
        .testTarget(
            name: "ReductionTests", dependencies: ["Reduction", "ReductionKernels"],
            swiftSettings: house),
        .testTarget(
            name: "RunRecordTests", dependencies: ["RunRecord", "ClusterFile", "ClusterModel"],
            swiftSettings: house),
        .testTarget(name: "TidyTests", swiftSettings: house),
        .testTarget(
            name: "SystemTests",
            dependencies: ["ClusterModel", "RunRecord", "Training", "ZeroMQ"], swiftSettings: house),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["ClusterModel", "Coordination", "Simulation", "WireProtocol"],
            swiftSettings: house),
        .testTarget(
            name: "TrainingTests",
            dependencies: ["Training", "TrainingKernels", "ClusterModel", "ExpertRouting"],
            exclude: ["pytorch_reference.py"], swiftSettings: house),
        .testTarget(
            name: "WireProtocolTests", dependencies: ["WireProtocol", "ClusterModel"],
            swiftSettings: house),
        .testTarget(name: "ZeroMQTests", dependencies: ["ZeroMQ"], swiftSettings: house),
    ] + wideTargets
)

// `Fuzz/run` builds the decoders and their fuzz targets with AddressSanitizer and coverage, in a
// scratch path of its own; nothing else sees this.
if Context.environment["LONGHAUL_FUZZ"] != nil {
    let sanitizers = ["-sanitize=fuzzer,address"]
    let decoders: Set = [
        "CLZ4", "CProcessor", "CXXHash", "CZstd", "ClusterModel", "Compression", "Reduction",
        "ReductionAVX2", "ReductionAVX512", "ReductionKernels", "WireProtocol",
    ]
    package.dependencies = []
    package.targets = package.targets.filter { decoders.contains($0.name) }
    for target in package.targets where target.type == .regular {
        target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(sanitizers)]
    }
    package.targets += [
        .systemLibrary(name: "CFuzzer", path: "Fuzz/CFuzzer"),
        .executableTarget(
            name: "fuzz-decoders",
            dependencies: ["CFuzzer", "ClusterModel", "Compression", "Reduction", "WireProtocol"],
            path: "Fuzz/Decoders", swiftSettings: house + [.unsafeFlags(sanitizers)],
            linkerSettings: [.unsafeFlags(sanitizers + ["-use-ld=lld"])]),
    ]
}
