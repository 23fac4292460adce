import ClusterModel
import Coordination
import Foundation
import Testing
import WireProtocol

/// Experts of one region: who decides what, when, and what members make of it.
@Suite struct CrossingTests {
    private let seats = Fixtures.topology().seats

    private static func configuration(
        _ crossing: RunConfiguration.Model.Experts.Crossing, steps: UInt32 = 60
    ) -> RunConfiguration {
        var configuration = Fixtures.configuration(syncEvery: 2, steps: steps)
        configuration.model.experts = .init(count: 4, width: 8, crossing: crossing)
        configuration.deadlines.gathering = .milliseconds(1)
        return configuration
    }

    private func message(
        _ message: Message, from seat: Int, epoch: Epoch? = nil
    ) -> Coordinator.Event {
        .message(
            from: ConnectionID(rawValue: UInt64(seat)), name: seats[seat].worker.name,
            incarnation: Incarnation(rawValue: UInt64(seat + 1)), message, epoch: epoch)
    }

    private func running(
        _ crossing: RunConfiguration.Model.Experts.Crossing = .init(tokens: 100, owned: 2),
        _ topology: Topology = Fixtures.topology(), choosesCodec: Bool = false,
        seats present: [Int] = [0, 1, 2, 3]
    ) -> Coordinator {
        var configuration = Self.configuration(crossing)
        configuration.wire.choosesBetween = choosesCodec
        var coordinator = Coordinator(
            configuration: configuration, topology: topology, configurationText: "{}",
            configurationDigest: Fixtures.configurationDigest,
            parameterCount: Fixtures.parameterCount)
        _ = coordinator.handle(.started, at: .at(0))
        for seat in present { _ = join(&coordinator, seat, at: 0) }
        _ = coordinator.handle(.tick, at: .at(6))
        ready(&coordinator, seats: present)
        return coordinator
    }

    private func join(
        _ coordinator: inout Coordinator, _ seat: Int, at time: Double
    ) -> [Coordinator.Effect] {
        coordinator.handle(message(.hello(Fixtures.hello(seats[seat])), from: seat), at: .at(time))
    }

    @discardableResult
    private func ready(
        _ coordinator: inout Coordinator, seats: [Int] = [0, 1, 2, 3]
    ) -> [Coordinator.Effect] {
        let version = coordinator.plan?.planVersion ?? 0
        return seats.flatMap { seat in
            coordinator.handle(
                message(.ready(Ready(planVersion: version, step: 0, holdings: [])), from: seat),
                at: .at(6))
        }
    }

    /// Of east's members and of west's, block after block.
    private static let wanted: [[UInt64]] = [
        [400, 300, 5, 20, 300, 9, 300, 30], [400, 300, 30, 1, 300, 2, 300, 40],
    ]

    private func commit(
        _ coordinator: inout Coordinator, _ round: UInt32, seats: [Int] = [0, 1, 2, 3],
        ahead: UInt64 = 0, wanted: [[UInt64]] = wanted
    ) -> [Coordinator.Effect] {
        seats.flatMap { seat in
            coordinator.handle(
                message(
                    .report(
                        Report(
                            key: .outer(fragment: FragmentID(0), round: round), digest: 1,
                            step: UInt64(2 * round) + (seat < 2 ? ahead : 0), tokens: 100,
                            experts: wanted[seat / 2].map { Report.ExpertLoad(tokens: $0) })),
                    from: seat), at: .at(6))
        }
    }

    private func plan(_ effects: [Coordinator.Effect]) -> Plan? {
        for case .send(_, .plan(let plan), _) in effects { return plan }
        return nil
    }

    private static func owners(_ plan: Plan?) -> [Int?]? {
        plan.map { $0.expertOwners.map { $0.region == .none ? nil : $0.region.index } }
    }

    /// The first plan with owners is in force, after round 4.
    private func withOwners(
        _ crossing: RunConfiguration.Model.Experts.Crossing = .init(tokens: 100, owned: 2),
        seats present: [Int] = [0, 1, 2, 3]
    ) -> Coordinator {
        var coordinator = running(crossing, seats: present)
        for round in UInt32(1)...3 { _ = commit(&coordinator, round, seats: present) }
        ready(&coordinator, seats: present)
        _ = commit(&coordinator, 4, seats: present)
        return coordinator
    }

    @Test func `the least wanted experts go to the region that wants them most`() {
        var coordinator = running()
        #expect(plan(commit(&coordinator, 1)) == nil)
        let found = plan(commit(&coordinator, 2))
        #expect(found?.activateAtRound == 4)
        // Of the first block experts 2 and 3 are cold: the more used one chooses first. Of the second 1
        // and 3.
        #expect(Self.owners(found) == [nil, nil, 1, 0, nil, 0, nil, 1])
        #expect(
            found?.tokenBudgets == [
                TokenBudget(from: RegionID(0), to: RegionID(1), tokens: 100),
                TokenBudget(from: RegionID(1), to: RegionID(0), tokens: 100),
            ])
        // The same reports, the same plan.
        var again = running()
        _ = commit(&again, 1)
        #expect(plan(commit(&again, 2)) == found)
    }

    @Test func `budgets of zero are none: nobody waits for tokens that cannot come`() {
        var coordinator = running(.init(tokens: 0, owned: 2))
        _ = commit(&coordinator, 1)
        let found = plan(commit(&coordinator, 2))
        #expect(Self.owners(found) == [nil, nil, 1, 0, nil, 0, nil, 1])
        #expect(found?.tokenBudgets == [])
        _ = commit(&coordinator, 3)
        ready(&coordinator)
        for round in UInt32(4)...8 { #expect(plan(commit(&coordinator, round)) == nil) }
    }

    @Test func `what rounds leave of a link goes by the encodings that they have`() throws {
        var topology = Fixtures.topology()
        topology.links = [
            Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 0, oneWayDelay: .zero,
                rate: 100_000_000_000, jitter: .zero, queueBytes: 65_536)
        ]
        for region in 0..<2 {
            for worker in 0..<2 {
                topology.regions[region].workers[worker].nominalStep = .milliseconds(1)
            }
        }
        func budget(_ topology: Topology, choosesCodec: Bool) -> UInt32? {
            var coordinator = running(
                .init(budget: nil, owned: 2), topology, choosesCodec: choosesCodec)
            _ = commit(&coordinator, 1)
            return plan(commit(&coordinator, 2))?.tokenBudgets.first?.tokens
        }
        let values = PoolTraffic(
            topology, crossesOnce: true, values: Double(Fixtures.parameterCount)
        )
        .values(from: 0, to: 1)
        func expected(_ transform: TransformID) -> UInt32 {
            let busy = values * transform.storedBytesPerValue * 8 / 100e9
            let configuration = Self.configuration(.init())
            return TokenPrice(
                rates: (there: 100e9, back: 100e9), seconds: 0.001 - busy / 2,
                bytes: configuration.model.experts!.visitBytes(width: configuration.model.width)
            ).tokens(samples: (own: 4, other: 4))
        }
        #expect(budget(topology, choosesCodec: false) == expected(.int8))
        #expect(expected(.int8) != expected(.int4))
        // A hundredth of two steps, 20 us, is enough for int4 only.
        #expect(budget(topology, choosesCodec: true) == expected(.int4))
    }

    @Test func `owners stay while loads differ by little`() {
        var coordinator = withOwners()
        var similar = Self.wanted
        (similar[0][2], similar[1][2], similar[0][3]) = (8, 24, 26)
        for round in UInt32(5)...12 {
            #expect(plan(commit(&coordinator, round, wanted: similar)) == nil)
        }
        var other = Self.wanted
        (other[0][0], other[1][0], other[0][2], other[1][2]) = (2, 1, 500, 500)
        var changed: Plan?
        for round in UInt32(13)...22 where changed == nil {
            changed = plan(commit(&coordinator, round, wanted: other))
        }
        #expect(Self.owners(changed)?.prefix(4).map { $0 } == [0, nil, nil, 1])
        // Not asked for.
        var never = Fixtures.configuration(syncEvery: 2, steps: 60)
        never.model.experts = .init(count: 4, width: 8)
        let crossing = ExpertCrossing(never, Fixtures.topology(), elements: 300_000)
        #expect(!crossing.isChoosing)
    }

    @Test func `a death takes budgets away until a boundary, a region's takes its experts too`() {
        var coordinator = withOwners()
        let one = plan(coordinator.handle(.unreachable(ConnectionID(rawValue: 3)), at: .at(7)))
        #expect(one?.activateAtRound == 0 && one?.tokenBudgets == [])
        #expect(Self.owners(one) == [nil, nil, 1, 0, nil, 0, nil, 1])
        ready(&coordinator, seats: [0, 1, 2])
        let back = plan(commit(&coordinator, 5, seats: [0, 1, 2]))
        #expect(back?.tokenBudgets.count == 2 && back?.activateAtRound == 7)
        let effects = coordinator.handle(.unreachable(ConnectionID(rawValue: 2)), at: .at(8))
        let two = plan(effects)
        #expect(two?.activateAtRound == 0 && two?.expertOwners == [] && two?.tokenBudgets == [])
        let notes = effects.compactMap {
            if case .event(.note(_, let text)) = $0 { text } else { nil }
        }
        #expect(notes.contains { $0.hasPrefix("2 experts that west alone computed") }, "\(notes)")
    }

    @Test func `tokens that do not come end the step, and cross again some rounds later`() throws {
        var coordinator = withOwners()
        let suspect = Suspect(
            rank: Rank(2), incarnation: Incarnation(rawValue: 3), reason: .tokensMissing)
        let effects = coordinator.handle(message(.suspect(suspect), from: 0), at: .at(7))
        let found = try #require(plan(effects))
        #expect(found.activateAtRound == 0 && found.tokenBudgets == [] && found.members.count == 4)
        #expect(!found.expertOwners.isEmpty)
        // Everybody says it; one plan answers.
        let others = [1, 2].flatMap {
            coordinator.handle(message(.suspect(suspect), from: $0), at: .at(7.1))
        }
        #expect(plan(others) == nil)
        ready(&coordinator)
        #expect(plan(coordinator.handle(message(.suspect(suspect), from: 0), at: .at(8))) == nil)
        let next = plan(commit(&coordinator, 5))
        #expect(next?.activateAtRound == 7 && next?.tokenBudgets.count == 2)
        ready(&coordinator)
        _ = commit(&coordinator, 6)
        _ = commit(&coordinator, 7)
        _ = coordinator.handle(message(.suspect(suspect), from: 0), at: .at(9))
        ready(&coordinator)
        // Twice as long: not after round 11.
        #expect(plan(commit(&coordinator, 8)) == nil)
        #expect(plan(commit(&coordinator, 9))?.activateAtRound == 11)
    }

    /// West-1 has rank 1 in the plan in force, and 2 in the one that is out.
    @Test func `tokens that do not come end the step while a joiner's plan is out`() throws {
        var coordinator = withOwners(seats: [1, 2, 3])
        let epoch = coordinator.epoch
        let joining = try #require(plan(join(&coordinator, 0, at: 6)))
        #expect(joining.activateAtRound == 6 && joining.members.count == 4)
        #expect(joining.tokenBudgets.count == 2)
        // One that has been through no GO computes no step.
        let suspect = Suspect(
            rank: Rank(1), incarnation: Incarnation(rawValue: 3), reason: .tokensMissing)
        #expect(plan(coordinator.handle(message(.suspect(suspect), from: 0), at: .at(7))) == nil)
        let effects = coordinator.handle(
            message(.suspect(suspect), from: 1, epoch: epoch), at: .at(7))
        let found = try #require(plan(effects))
        #expect(found.activateAtRound == 0 && found.tokenBudgets == [] && found.members.count == 3)
        let reasons = effects.compactMap {
            if case .event(.epochStarted(_, _, let reason)) = $0 { reason } else { nil }
        }
        #expect(reasons.first?.hasPrefix("east-2 waits for tokens of west-1: no token") == true)
        // The joiner waits for the next boundary.
        ready(&coordinator, seats: [1, 2, 3])
        #expect(coordinator.plan?.members.count == 4 && coordinator.plan?.activateAtRound == 6)
    }

    /// East has trained past a boundary since the plan with budgets went out.
    @Test(arguments: [true, false])
    func `budgets are not in force where regions have come to unlike steps`(
        reportsLast: Bool
    ) throws {
        var coordinator = running()
        for round in UInt32(1)...3 { _ = commit(&coordinator, round) }
        #expect(coordinator.plan?.activateAtRound == 4)
        #expect(coordinator.plan?.tokenBudgets.count == 2)
        var effects: [Coordinator.Effect] = []
        if reportsLast { effects += ready(&coordinator) }
        effects += commit(&coordinator, 4, ahead: 1)
        if !reportsLast { effects += ready(&coordinator) }
        let found = try #require(plan(effects))
        #expect(found.activateAtRound == 4 && found.tokenBudgets == [])
        #expect(Self.owners(found) == [nil, nil, 1, 0, nil, 0, nil, 1])
        var goes: [UInt32] = []
        for effect in ready(&coordinator) {
            if case .send(_, .go(let go), _) = effect { goes.append(go.planVersion) }
            if case .event(.expertOwners(let now)) = effect { #expect(now.budgets == []) }
        }
        #expect(goes == Array(repeating: found.planVersion, count: 4))
        #expect(plan(commit(&coordinator, 5, ahead: 1))?.expertOwners == [])
    }

    @Test func `regions that stand at unlike steps compute all experts`() {
        var coordinator = withOwners()
        let found = plan(commit(&coordinator, 5, ahead: 1))
        #expect(found?.expertOwners == [] && found?.tokenBudgets == [])
        #expect(plan(commit(&coordinator, 6, ahead: 1)) == nil)
    }

    @Test func `a budget is what the link carries in its share of a step`() {
        let price = TokenPrice(
            rates: (there: 8_000_000, back: 4_000_000), seconds: 0.02,
            bytes: (there: 1_040, back: 1_032))
        // 4 Mbit/s x 20 ms are 10,000 bytes: 9.6 visits, of which a region with 3 of 4 samples has 7.2.
        #expect(price.tokens(samples: (own: 3, other: 1)) == 7)
        #expect(price.tokens(samples: (own: 1, other: 3)) == 2)
        #expect(price.tokens(samples: (own: 0, other: 0)) == 0)
        var experts = RunConfiguration.Model.Experts(count: 4, topK: 2, width: 8)
        #expect(experts.visitBytes(width: 128) == (there: 1_040, back: 1_032))
        experts.tokenWire = .int8
        #expect(experts.visitBytes(width: 128) == (there: 276, back: 268))
    }

    @Test func `budgets go by measured rates and steps, by the file's, or by what rounds leave`() {
        var topology = Fixtures.topology()
        topology.links = [
            Topology.Link(
                a: RegionID(0), b: RegionID(1), distanceKilometres: 0,
                oneWayDelay: .milliseconds(1), rate: 20_000_000, jitter: .zero,
                queueBytes: 65_536)
        ]
        func tokens(
            budget: Double?, measured: UInt64?, adapts: Bool, step: Double = 0.2,
            roundBytes: Double = 0
        ) -> String? {
            var configuration = Self.configuration(.init(budget: budget, owned: 2))
            configuration.model.width = 128
            var crossing = ExpertCrossing(configuration, topology, elements: 300_000)
            for _ in 0..<2 {
                for region in 0..<2 {
                    // Over 100 ms.
                    let links = measured.map {
                        [
                            Report.LinkMeter(
                                region: RegionID(1 - region), acknowledgedBytes: $0 / 80,
                                busyTime: .milliseconds(100))
                        ]
                    }
                    crossing.note(
                        RegionID(region), Self.wanted[region].map { .init(tokens: $0) },
                        links ?? [])
                }
                crossing.settle(steps: [4, 4])
            }
            let reason = crossing.change(
                ExpertCrossing.Conditions(
                    members: [2, 2], samples: [3, 1], step: step, syncEvery: 10,
                    roundBytes: [[0, roundBytes], [roundBytes, 0]], adapts: adapts, turn: 4))
            return reason.flatMap { $0.components(separatedBy: "in a step: ").last }
        }
        // 20 Mbit/s x 20 ms are 50,000 bytes: 48 visits of 1,040.
        let file = "east to west 36, west to east 12, in 200 ms a step"
        #expect(tokens(budget: 0.1, measured: nil, adapts: true) == file)
        #expect(tokens(budget: 0.1, measured: 10_000_000, adapts: false) == file)
        #expect(
            tokens(budget: 0.1, measured: 10_000_000, adapts: true)
                == "east to west 18, west to east 6, in 200 ms a step")
        // 2.5 MB in a round of 10 steps take 1 s: half of each.
        #expect(
            tokens(budget: nil, measured: nil, adapts: true, roundBytes: 2_500_000)
                == "east to west 180, west to east 60, in 200 ms a step")
        #expect(
            tokens(budget: 0.1, measured: nil, adapts: true, step: 0)?.hasPrefix("none") == true)
    }

    @Test func `a member's part of a budget, and who serves it`() throws {
        var plan = Fixtures.plan()
        plan.members[0].microBatch = 3
        plan.tokenBudgets = [TokenBudget(from: RegionID(0), to: RegionID(1), tokens: 99)]
        plan.experts = [ExpertBlock(start: 0, each: 10, count: 2)]
        plan.expertOwners = [.init(region: RegionID(1)), .init(region: .none)]
        func active(_ seat: Int) throws -> ActivePlan {
            try #require(
                ActivePlan(
                    epoch: Epoch(rawValue: 1), plan: plan,
                    schedule: Fixtures.configuration().schedule, worker: WorkerID(seat)))
        }
        #expect(try active(0).tokenBudget(to: RegionID(1)) == 59)
        #expect(try active(1).tokenBudget(to: RegionID(1)) == 39)
        #expect(try active(2).tokenBudget(to: RegionID(0)) == 0)
        #expect(try active(0).crossesTokens)
        #expect(
            try (0..<4).map { try active($0).tokenServer(in: RegionID(1)) }
                == [Rank(2), Rank(3), Rank(2), Rank(3)])
        plan.members.removeLast()
        #expect(try active(1).tokenServer(in: RegionID(1)) == Rank(2))
        #expect(try active(0).tokenServer(in: RegionID(2)) == nil)
    }
}
