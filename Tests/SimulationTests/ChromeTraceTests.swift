import ClusterModel
import Foundation
import Simulation
import Testing

@Suite struct ChromeTraceTests {
    private struct Entry: Decodable {
        var name: String
        var ph: String
        var tid: Int
        var ts: Double?
        var dur: Double?
    }

    @Test func `a trace is JSON that accounts for every worker's time`() throws {
        var scenario = Scenario()
        scenario.options.keepsTrace = true
        let result = scenario.simulator().run()
        let text = ChromeTrace.json(result, names: ["a \"quoted\"", "b\\", "c", "d\n"])
        let entries = try JSONDecoder().decode([Entry].self, from: Data(text.utf8))
        #expect(entries.count { $0.ph == "M" } == 4)
        #expect(entries.count { $0.ph == "i" } == 3)
        for seat in 0..<4 {
            let spans = entries.filter { $0.ph == "X" && $0.tid == seat }
            #expect(spans.count { $0.name == "compute" } == 12)
            // 12 steps of 0.1 s at least, in microseconds.
            #expect(spans.reduce(0) { $0 + ($1.dur ?? 0) } >= 1_200_000)
            // One thread: in order, without overlap.
            var end = 0.0
            for span in spans {
                #expect((span.ts ?? -1) >= end - 0.002)
                end = (span.ts ?? 0) + (span.dur ?? 0)
            }
        }
    }
}
