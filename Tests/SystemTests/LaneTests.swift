import Foundation
import Testing

private struct Measured: Decodable {
    var lanes: Int
    var sent: Int
    var delivered: Int
    var refused: Int
    var lost: Int
    var twice: Int
    var damaged: Int
    var revived: Int
    var framesResent: Int
    var laneResets: Int
}

extension SystemTests {
    @Suite("Lanes between processes") struct Lanes {
        private func measure(_ scratch: Scratch, _ flags: [String]) async throws -> Measured {
            let program = try Program(
                "longhaul", ["bench", "lanes", "--json"] + flags, in: scratch)
            try await #expect(program.ending() == .code(0), "\(program.errors)")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(Measured.self, from: Data(program.output.utf8))
        }

        private func expectWhole(_ result: Measured) {
            #expect(result.sent == result.delivered + result.refused)
            #expect(result.lost + result.twice + result.damaged + result.revived == 0)
        }

        /// 40,000 chunks of 4 KiB over 100 Mbit/s take 13 s: every second one of the lanes is reset.
        @Test("a lane reset every second costs what it had under way, and no chunk")
        func reset() async throws {
            try await withScratch { scratch in
                let result = try await measure(
                    scratch,
                    [
                        "--chunks", "40000", "--chunk-bytes", "4096", "--rate", "100", "--fault",
                        "reset", "--after", "1", "--lanes", "4",
                    ])
                expectWhole(result)
                #expect(result.lanes == 4)
                #expect(result.delivered == 40_000)
                #expect(result.laneResets >= 3)
                #expect(result.framesResent > 0)
            }
        }

        @Test(
            "a killed receiver: what it had not acknowledged is refused, its next life gets the rest"
        )
        func kill() async throws {
            try await withScratch { scratch in
                let result = try await measure(
                    scratch,
                    [
                        "--chunks", "30000", "--chunk-bytes", "4096", "--rate", "100", "--fault",
                        "kill", "--after", "1",
                    ])
                expectWhole(result)
                #expect(result.refused > 0)
                #expect(result.delivered > result.refused)
            }
        }
    }
}
