import Foundation
import Testing

private struct Measured: Decodable {
    var rowsSent: Int
    var rowsByChoice: Int
    var bytes: Double
    var bytesExpected: Int
    var bytesByChoice: Int
    var digest: String
    var error: Double
}

extension SystemTests {
    @Suite("Tokens between processes") struct Dispatch {
        private func measure(_ scratch: Scratch, _ flags: [String]) async throws -> Measured {
            let program = try Program(
                "longhaul",
                [
                    "bench", "dispatch", "--tokens", "2048", "--width", "512", "--repeats", "6",
                    "--json",
                ]
                    + flags, in: scratch)
            try await #expect(program.ending() == .code(0), "\(program.errors)")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(Measured.self, from: Data(program.output.utf8))
        }

        @Test("a token travels once for each worker, and no sum depends on arrival")
        func once() async throws {
            try await withScratch { scratch in
                let straight = try await measure(scratch, ["--workers", "3"])
                #expect(straight.error < 1e-6)
                #expect(straight.bytes == Double(straight.bytesExpected))
                #expect(straight.rowsSent < straight.rowsByChoice)
                #expect(straight.bytesExpected < straight.bytesByChoice)
                for (order, way) in [("1", "tcp"), ("2", "tcp"), ("3", "memory")] {
                    let shuffled = try await measure(
                        scratch,
                        ["--workers", "3", "--order", order, "--plain", "--same-host", way])
                    #expect(shuffled.digest == straight.digest)
                    #expect(shuffled.bytes == straight.bytes)
                }
            }
        }

        @Test("int8 rows take a quarter of the bytes")
        func packed() async throws {
            try await withScratch { scratch in
                let whole = try await measure(scratch, ["--workers", "2", "--plain"])
                let packed = try await measure(
                    scratch, ["--workers", "2", "--wire", "int8", "--plain"])
                #expect(packed.bytes == Double(packed.bytesExpected))
                #expect(packed.bytes < 0.28 * whole.bytes)
                #expect(packed.error > 0 && packed.error < 0.02)
            }
        }

        @Test("what cannot be exchanged is refused, with what can")
        func refusals() async throws {
            try await withScratch { scratch in
                let wire = try Program(
                    "longhaul", ["bench", "dispatch", "--wire", "int4"], in: scratch)
                try await #expect(wire.ending() == .code(2))
                #expect(wire.errors.contains("fp32, bf16, fp16, int8"), "\(wire.errors)")
                let experts = try Program(
                    "longhaul", ["bench", "dispatch", "--workers", "4", "--experts", "3"],
                    in: scratch)
                try await #expect(experts.ending() == .code(2))
                #expect(experts.errors.contains("one for each worker"), "\(experts.errors)")
            }
        }
    }
}
