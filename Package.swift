// swift-tools-version: 6.3
import PackageDescription

let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "longhaul",
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        .systemLibrary(name: "CXXHash", path: "Sources/CXXHash"),
        // Interval(seconds:) rounds; without Foundation nothing else links libm.
        .target(
            name: "ClusterModel", swiftSettings: house,
            linkerSettings: [.linkedLibrary("m")]),
        .target(name: "WireProtocol", dependencies: ["ClusterModel", "CXXHash"], swiftSettings: house),
        .target(
            name: "Coordination",
            dependencies: [
                "ClusterModel", "WireProtocol",
                .product(name: "DequeModule", package: "swift-collections"),
            ], swiftSettings: house),
        .target(
            name: "Simulation",
            dependencies: [
                "ClusterModel", "WireProtocol", "Coordination",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ], swiftSettings: house),
        .executableTarget(
            name: "simulation-bench", dependencies: ["ClusterModel", "Simulation"],
            swiftSettings: house),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["ClusterModel", "WireProtocol", "Coordination", "Simulation"],
            swiftSettings: house),
        .testTarget(
            name: "CoordinationTests",
            dependencies: ["ClusterModel", "WireProtocol", "Coordination"], swiftSettings: house),
    ]
)
