import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite(
        "Packet mode",
        .enabled(
            if: geteuid() == 0 && FileManager.default.fileExists(atPath: "/dev/net/tun"),
            "needs root and /dev/net/tun"))
    struct PacketMode {
        @Test("kernel TCP across a link that loses packets ends in the same bytes as a relay")
        func sameBytes() async throws {
            try await withScratch { scratch in
                var models: [Data] = []
                for mode in ["relay", "packet"] {
                    var cluster = SmallCluster()
                    cluster.steps = 30
                    cluster.emulate = mode
                    // Some of what leaves in one piece: the rest is cut and goes on.
                    if mode == "packet" { cluster.loss = "1 %" }
                    let file = try cluster.write(to: scratch, name: mode)
                    let run = try Run(scratch, file, directory: mode)
                    try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                    let summary = try run.summary()
                    #expect(summary.counts.violations == 0)
                    #expect(try run.events().commits.map(\.round) == [1, 2, 3])
                    models.append(
                        try Data(contentsOf: URL(filePath: "\(run.directory)/model.safetensors")))
                }
                #expect(models[0] == models[1])
            }
        }
    }
}
