import Foundation
import Testing

/// The formulas of docs/algorithms.md.
private struct ExpectedBytes {
    static let chunk = 65_536
    /// Header and fields of a CHUNK.
    static let frame = 104.0

    /// Payload and frames of `values` fp32 values that travel once, in slices of `slices` owners.
    static func once(_ values: Int, slices: Int) -> Double {
        let perSlice = (values / slices + chunk - 1) / chunk
        return Double(values) * 4 + Double(perSlice * slices) * frame
    }

    /// Butterfly among `workers`: every value leaves W - 1 times as a contribution, and as a mean.
    static func region(_ workers: Int, _ values: Int) -> Double {
        2 * Double(workers - 1) * once(values, slices: workers)
    }

    /// Between `regions` of `workers` in all: a contribution from and a mean to each other region.
    static func between(_ regions: Int, _ workers: Int, _ values: Int) -> Double {
        2 * Double(regions - 1) * once(values, slices: workers)
    }
}

private struct Measured: Decodable {
    var workers: Int
    var bytesOnWire: Double
    var bytesBetweenRegions: Double
    var framesOnWire: Double
    var buffersAllocated: Int
    var bufferBytesPeak: Int
    var pageFaults: Double
    var payloadRateShare: [String: Double]?
    var inFlight: Int
    var error: Double
    var digest: String
}

extension SystemTests {
    @Suite("All-reduce between processes") struct Allreduce {
        private static let values = 1_048_576

        private func measure(_ scratch: Scratch, _ flags: [String]) async throws -> Measured {
            let program = try Program(
                "longhaul",
                ["bench", "allreduce", "--elements", String(Self.values), "--json"] + flags,
                in: scratch)
            try await #expect(program.ending() == .code(0), "\(program.errors)")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(Measured.self, from: Data(program.output.utf8))
        }

        private func isWithinPercent(_ got: Double, _ expected: Double) -> Bool {
            abs(got - expected) <= expected / 100
        }

        @Test("bytes of a region are the butterfly's, buffers are used again and again")
        func region() async throws {
            try await withScratch { scratch in
                let repeats = 40
                let result = try await measure(
                    scratch, ["--workers", "4", "--repeats", String(repeats)])
                #expect(result.error == 0)
                let expected = ExpectedBytes.region(4, Self.values)
                #expect(
                    isWithinPercent(result.bytesOnWire, expected),
                    "\(result.bytesOnWire), expected \(expected)")
                #expect(result.bytesBetweenRegions == 0)
                // Each worker fills 12 buffers with contributions, its own slice's values being lent, 4 with
                // means and 8 with copies of them; that is 96 in each of 40 exchanges, and not one in
                // twenty may need memory of its own.
                #expect(result.buffersAllocated <= 96 * repeats / 20)
                // Of one exchange, and means of the last that somebody has not acknowledged yet.
                let budget = (12 + 2 * (4 + 8)) * (262_144 + 128)
                #expect(result.bufferBytesPeak <= budget)
                // 4 MiB are 1,024 pages; received messages, libzmq's own included, use memory again.
                #expect(result.pageFaults < 256)
            }
        }

        @Test("plain sockets and shared memory carry the same values")
        func plain() async throws {
            try await withScratch { scratch in
                let curve = try await measure(scratch, ["--repeats", "3"])
                let plain = try await measure(scratch, ["--repeats", "3", "--plain"])
                #expect(curve.digest == plain.digest)
                for way in ["ipc", "memory"] {
                    let other = try await measure(
                        scratch, ["--repeats", "3", "--same-host", way])
                    #expect(other.digest == plain.digest, "\(way)")
                    #expect(isWithinPercent(other.bytesOnWire, plain.bytesOnWire), "\(way)")
                }
                let packed = try await measure(
                    scratch, ["--repeats", "3", "--plain", "--wire", "int8"])
                #expect(packed.error > 0 && packed.error < 0.01)
                #expect(packed.bytesOnWire < plain.bytesOnWire / 3.9)
            }
        }

        @Test("buffers that peers read in place are used again and again")
        func memory() async throws {
            try await withScratch { scratch in
                let repeats = 40
                let result = try await measure(
                    scratch,
                    ["--workers", "4", "--repeats", String(repeats), "--same-host", "memory"])
                #expect(result.error == 0)
                // As with sockets; a peer gives a buffer back a little later.
                #expect(result.buffersAllocated <= 96 * repeats / 20)
                #expect(result.pageFaults < 256)
            }
        }

        @Test("regions exchange every byte once")
        func regions() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.regions = cluster.regions.map { .init(name: $0.name, batches: [1, 1]) }
                cluster.outer = "every-step"
                let file = try cluster.write(to: scratch)
                let result = try await measure(scratch, ["--cluster", file, "--repeats", "3"])
                #expect(result.workers == 4 && result.error == 0)
                let expected = ExpectedBytes.between(2, 4, Self.values)
                #expect(
                    isWithinPercent(result.bytesBetweenRegions, expected),
                    "\(result.bytesBetweenRegions), expected \(expected)")
                // Every member's part once to who reduces it in its region; every mean once to each other
                // member.
                let inside = 2 * Double(4 - 2) * ExpectedBytes.once(Self.values, slices: 4)
                #expect(
                    isWithinPercent(result.bytesOnWire, expected + inside),
                    "\(result.bytesOnWire), expected \(expected + inside)")
            }
        }

        /// Each exchange is of a fragment of replicas that are one worker each.
        @Test("several in flight send as many bytes, each once between regions")
        func inFlight() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.regions = cluster.regions.map { .init(name: $0.name, batches: [1, 1]) }
                cluster.outer = "every-step"
                let file = try cluster.write(to: scratch)
                let result = try await measure(
                    scratch, ["--cluster", file, "--repeats", "12", "--in-flight", "3"])
                #expect(result.workers == 4 && result.inFlight == 3 && result.error == 0)
                let between = ExpectedBytes.between(2, 4, Self.values)
                let inside = 2 * Double(4 - 2) * ExpectedBytes.once(Self.values, slices: 4)
                // What is under way when the count begins and ends is not the same to the byte.
                #expect(abs(result.bytesBetweenRegions / between - 1) < 0.15)
                #expect(abs(result.bytesOnWire / (between + inside) - 1) < 0.15)
                let shares = try #require(result.payloadRateShare)
                #expect(shares.count == 2 && shares.values.allSatisfy { $0 > 0 })
            }
        }
    }
}
