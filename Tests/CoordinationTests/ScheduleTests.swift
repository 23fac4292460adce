import ClusterModel
import Coordination
import Testing
import WireProtocol

/// When fragments leave, against the published rules.
@Suite struct ScheduleTests {
    private func pace(
        _ every: UInt32, fragments: UInt32, lastStep: UInt32, overlap: UInt32 = 0
    ) -> ReplicaPace {
        ReplicaPace(
            syncEvery: every, overlap: overlap, lastStep: lastStep, fragments: fragments)
    }

    /// Steps after which each turn leaves when nothing is late.
    private func departures(
        _ schedule: StreamingSchedule, _ pace: ReplicaPace
    ) -> [(turn: UInt32, step: UInt32)] {
        var found: [(UInt32, UInt32)] = []
        var turn: UInt32 = 1
        var left: UInt32 = 0
        for step in 1...pace.lastStep {
            while schedule.leaves(
                SchedulePosition(step: step, left: left, turn: turn, pace: pace))
            {
                found.append((turn, step))
                left = step
                turn += 1
            }
        }
        return found
    }

    @Test(
        arguments: [(10, 3), (10, 4), (30, 8), (7, 7), (100, 36), (5, 1)] as [(UInt32, UInt32)])
    func `fragments leave where (s - int(p H / P)) mod H is 0`(every: UInt32, fragments: UInt32) {
        let rounds: UInt32 = 3
        let order = FragmentOrder(count: Int(fragments))
        let found = departures(
            StreamingSchedule(rounds: rounds, blend: 0.5),
            pace(every, fragments: fragments, lastStep: rounds * every))
        var expected: [(fragment: UInt32, step: UInt32)] = []
        for step in 1...(rounds * every) {
            for fragment in 0..<fragments {
                let offset = fragment * every / fragments
                guard step >= offset, (step - offset) % every == 0, step > 0 else { continue }
                expected.append((fragment, step))
            }
        }
        let regular = found.prefix(expected.count)
        #expect(
            regular.map { UInt32(order.fragment(of: $0.turn).rawValue) }
                == expected.map(\.fragment))
        #expect(regular.map(\.step) == expected.map(\.step))
        // After the last step all others leave once more.
        #expect(found.count == expected.count + Int(fragments) - 1)
        #expect(found.suffix(Int(fragments) - 1).allSatisfy { $0.step == rounds * every })
    }

    @Test func lateTurnsLeaveOneAStep() {
        let schedule = StreamingSchedule(rounds: 3, blend: 0.5)
        let pace = pace(6, fragments: 3, lastStep: 18)
        // Turns 2 and 3 were due after steps 4 and 6; it is step 9, turn 1 left at 8.
        let position = SchedulePosition(step: 9, left: 8, turn: 2, pace: pace)
        #expect(schedule.leaves(position))
        #expect(
            !schedule.leaves(SchedulePosition(step: 9, left: 9, turn: 3, pace: pace)))
        #expect(schedule.leaves(SchedulePosition(step: 10, left: 9, turn: 3, pace: pace)))
    }

    @Test func aSlowerReplicaGoesThroughTheSameTurns() {
        let schedule = StreamingSchedule(rounds: 4, blend: 0.5)
        let fast = departures(schedule, pace(50, fragments: 3, lastStep: 200))
        let slow = departures(schedule, pace(31, fragments: 3, lastStep: 124))
        #expect(fast.map(\.turn) == slow.map(\.turn))
        #expect(slow.first?.step == 10 && fast.first?.step == 16)
        #expect(schedule.isOver(turn: 14, fragments: 3, allStepped: false))
        #expect(!schedule.isOver(turn: 13, fragments: 3, allStepped: true))
    }

    @Test func lastRoundReplacesTheLiveParameters() {
        let schedule = StreamingSchedule(rounds: 2, blend: 0.5)
        let pace = pace(4, fragments: 2, lastStep: 8)
        #expect(schedule.blend(left: 7, pace: pace) == 0.5)
        #expect(schedule.blend(left: 8, pace: pace) == 0)
        #expect(DiLoCoSchedule().blend(left: 7, pace: pace) == 0)
    }

    @Test(arguments: 1...6)
    func turnsAndRoundsAreOneOrder(fragments: Int) {
        let order = FragmentOrder(count: fragments)
        var rounds = [UInt32](repeating: 0, count: fragments)
        for turn in UInt32(1)...40 {
            let key = order.key(of: turn)
            rounds[key.fragment.index] += 1
            #expect(key.round == rounds[key.fragment.index])
            #expect(order.turn(of: key) == turn)
            for fragment in 0..<fragments {
                #expect(
                    order.rounds(of: FragmentID(fragment), through: turn) == rounds[fragment])
            }
        }
    }

    @Test func localStepsFollowThePublishedRule() {
        #expect(
            LocalSteps.steps(rates: [100, 63, 20, 7], syncEvery: 50) == [50, 31, 10, 3])
        #expect(LocalSteps.steps(rates: [1, 1], syncEvery: 30) == [30, 30])
        #expect(LocalSteps.steps(rates: [1000, 1], syncEvery: 30) == [30, 1])
    }

    @Test func nominalLocalStepsComeFromTheSlowestWorkerOfEachRegion() {
        var topology = Fixtures.topology([2, 1])
        topology.regions[0].workers[0].nominalStep = .milliseconds(100)
        topology.regions[0].workers[1].nominalStep = .milliseconds(150)
        topology.regions[1].workers[0].nominalStep = .milliseconds(400)
        var configuration = Fixtures.configuration(syncEvery: 30, steps: 300)
        #expect(configuration.paces(topology, values: 1_000).map(\.syncEvery) == [30, 30, 30])
        configuration.schedule.localSteps = .nominal
        let paces = configuration.paces(topology, values: 1_000)
        #expect(paces.map(\.syncEvery) == [30, 30, 11])
        #expect(paces.map(\.lastStep) == [300, 300, 110])
    }

    @Test func aChosenOverlapGoesToEachMember() {
        var topology = Fixtures.topology([2, 1])
        for worker in topology.regions[0].workers.indices {
            topology.regions[0].workers[worker].nominalStep = .milliseconds(100)
        }
        topology.regions[1].workers[0].nominalStep = .milliseconds(300)
        topology.links = [
            Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 1_500,
                oneWayDelay: .milliseconds(100), rate: 0, jitter: .zero, queueBytes: 65_536)
        ]
        var configuration = Fixtures.configuration(outer: .streaming, syncEvery: 30, steps: 300)
        configuration.schedule.overlap = 1
        #expect(configuration.paces(topology, values: 1_000).map(\.overlap) == [1, 1, 1])
        configuration.schedule.choosesOverlap = true
        #expect(configuration.paces(topology, values: 1_000).map(\.overlap) == [2, 2, 1])
    }

    @Test func diLoCoCountsFromTheLastDeparture() {
        let pace = pace(4, fragments: 1, lastStep: 20)
        func leaves(_ step: UInt32, left: UInt32) -> Bool {
            DiLoCoSchedule().leaves(
                SchedulePosition(step: step, left: left, turn: 1, pace: pace))
        }
        #expect(!leaves(3, left: 0) && leaves(4, left: 0))
        #expect(!leaves(8, left: 5) && leaves(9, left: 5))
        #expect(leaves(20, left: 19) && !leaves(20, left: 20))
    }
}
