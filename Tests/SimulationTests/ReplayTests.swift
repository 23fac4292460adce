import ClusterModel
import Coordination
import Foundation
import Simulation
import Testing

@Suite struct ReplayTests {
    @Test func `a recorded worker wants the same again`() throws {
        var scenario = Scenario()
        scenario.options.recordsWorker = 2
        scenario.fault(1.2, .resetLane(from: 2, to: 0, lane: nil))
        scenario.fault(1.6, .resetControl(worker: 2))
        let simulator = scenario.simulator()
        _ = simulator.run()
        #expect(simulator.recording.count > 100)
        // As a file of JSON lines holds it.
        let encoder = JSONEncoder()
        let decoder = JSONDecoder()
        let log = try simulator.recording.map {
            try decoder.decode(MachineRecord.self, from: encoder.encode($0))
        }
        #expect(Replay.firstDifference(log) == nil)
    }

    @Test func `a changed log is noticed`() {
        var scenario = Scenario()
        scenario.options.recordsWorker = 2
        let simulator = scenario.simulator()
        _ = simulator.run()
        var log = simulator.recording
        log.remove(at: log.count / 2)
        #expect(Replay.firstDifference(log) != nil)
    }
}
