import ClusterModel
import Simulation
import Testing
import WireProtocol

/// Experts that one region computes alone, and tokens that go there, through all machines. The checkers know
/// from the specification whose contribution a mean is, what may leave, and what each member has to read.
@Suite struct OwnedExpertTests {
    private func scenario(
        workers: [Int] = [2, 1, 2], steps: UInt32 = 60, tokens: UInt32? = 60, adapts: Bool = false
    ) -> Scenario {
        var scenario = Scenario()
        scenario.topology = SampleCluster.topology(workers: workers, microBatches: [1, 3])
        scenario.configuration = SampleCluster.configuration(
            seed: 5, steps: steps, inner: .everyStep, outer: .diloco, syncEvery: 2, experts: 4)
        scenario.configuration.schedule.adapts = adapts
        scenario.configuration.model.experts?.topK = 2
        scenario.configuration.model.experts?.crossing = .init(tokens: tokens, owned: 2)
        scenario.options.occurrenceLimit = 1_000_000
        return scenario
    }

    private func owners(_ result: SimulationResult) -> [RunEvent.ExpertOwners] {
        result.events.compactMap {
            if case .expertOwners(let owners) = $0.event { owners } else { nil }
        }
    }

    private func crossed(_ result: SimulationResult) -> [UInt64] {
        result.events.compactMap {
            if case .tokensCrossed(_, let count) = $0.event {
                count.crossed.reduce(0, +)
            } else {
                nil
            }
        }
    }

    private func tokenBytes(_ result: SimulationResult) -> UInt64 {
        result.events.reduce(0) {
            if case .traffic(_, let traffic) = $1.event {
                $0 + (traffic.tokenBytes ?? 0)
            } else {
                $0
            }
        }
    }

    /// Contributions and means that workers have sent.
    private func values(_ result: SimulationResult) -> UInt64 {
        result.events.reduce(0) {
            if case .traffic(_, let traffic) = $1.event { $0 + traffic.values } else { $0 }
        }
    }

    private func reasons(_ result: SimulationResult) -> [String] {
        result.events.compactMap {
            if case .epochStarted(_, _, let reason) = $0.event { reason } else { nil }
        }
    }

    private func digests(_ result: SimulationResult) -> [UInt64] {
        result.events.compactMap {
            if case .roundCommitted(_, let digest, _, _) = $0.event { digest } else { nil }
        }
    }

    /// Whether budgets were there, then not, then there again.
    private func comeBack(_ result: SimulationResult) -> Bool {
        let present = owners(result).map { !$0.budgets.isEmpty }
        guard let first = present.firstIndex(of: true),
            let gap = present[first...].firstIndex(of: false)
        else { return false }
        return present[gap...].contains(true)
    }

    @Test(arguments: [false, true])
    func tokensCrossAndARunRepeats(adapts: Bool) {
        let tokens: UInt32? = adapts ? nil : 60
        let result = scenario(tokens: tokens, adapts: adapts).simulator().run()
        #expect(result.findings == [])
        #expect(result.code == .ok && result.codes == [0, 0, 0, 0, 0])
        // What is rarely used changes, and owners with it.
        let owners = owners(result)
        #expect(Set(owners.map(\.owners)).count >= 2, "\(owners.count)")
        #expect(owners.allSatisfy { !$0.budgets.isEmpty })
        let crossed = crossed(result)
        #expect(crossed.count == 5 && crossed.allSatisfy { $0 > 0 })
        #expect(tokenBytes(result) > 0)
        let again = scenario(tokens: tokens, adapts: adapts).simulator().run()
        #expect(again.traceHash == result.traceHash && digests(again) == digests(result))
        let none = scenario(tokens: 0).simulator().run()
        #expect(none.findings == [] && none.code == .ok)
        #expect(self.crossed(none).allSatisfy { $0 == 0 })
        #expect(self.owners(none).allSatisfy { $0.budgets.isEmpty })
        #expect(tokenBytes(none) == 0)
        // Who does not own an expert does not contribute it.
        var everybody = scenario()
        everybody.configuration.model.experts?.crossing = nil
        let all = everybody.simulator().run()
        #expect(all.findings == [] && values(none) < values(all))
    }

    @Test(arguments: stride(from: 1_500, to: 8_000, by: 210).map(\.self))
    func aDeathAtAnyTime(millisecond: Int) {
        var scenario = scenario()
        scenario.options.faults = [
            TimedFault(
                at: .zero + .milliseconds(Int64(millisecond)),
                fault: .crash(worker: millisecond / 10 % 5))
        ]
        let result = scenario.simulator().run()
        #expect(result.findings == [], "at \(millisecond) ms: \(result.findings)")
        #expect(result.code == .ok)
    }

    @Test func aRegionDies() {
        var scenario = scenario()
        scenario.fault(4, .crash(worker: 2))
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        let owners = owners(result)
        #expect(owners.contains { $0.owners.contains(RegionID(1)) })
        #expect(owners.last?.owners.contains(RegionID(1)) == false)
        let notes = result.count {
            if case .note(_, let text) = $0 {
                text.contains("that r1 alone computed")
            } else {
                false
            }
        }
        #expect(notes == 1)
        #expect(comeBack(result))
    }

    /// The coordinator is in region 0; between the two others nothing passes.
    @Test func anOutageBetweenRegions() {
        var scenario = scenario(steps: 120)
        scenario.configuration.deadlines.patience = .seconds(1)
        scenario.fault(4, .partition(from: 1, to: 2, symmetric: true, .seconds(6)))
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(result.codes == [0, 0, 0, 0, 0])
        #expect(reasons(result).contains { $0.contains("waits for tokens of") })
        let says = result.count {
            if case .waiting(_, let activity, _, _, _, _) = $0 {
                activity.hasPrefix("tokens of step")
            } else {
                false
            }
        }
        #expect(says > 0)
        #expect(comeBack(result))
    }

    @Test(arguments: [2_900, 4_300, 5_100])
    func somebodyComesBack(millisecond: Int) {
        for seat in 0..<5 {
            var scenario = scenario(steps: 90)
            scenario.options.faults = [
                TimedFault(
                    at: .zero + .milliseconds(Int64(millisecond)),
                    fault: .restart(worker: seat, resume: seat % 2 == 0))
            ]
            let result = scenario.simulator().run()
            #expect(result.findings == [], "\(seat) at \(millisecond) ms: \(result.findings)")
            #expect(result.code == .ok)
            #expect(comeBack(result), "\(seat) at \(millisecond) ms")
        }
    }

    @Test func sizesOnly() {
        var scenario = scenario(tokens: 60)
        scenario.options.payloads = .modelled(
            parameters: scenario.configuration.model.parameterCount)
        scenario.options.checks = false
        let result = scenario.simulator().run()
        #expect(result.findings == [] && result.code == .ok)
        #expect(crossed(result).allSatisfy { $0 > 0 })
        let never = tokenBytes(result)
        scenario.configuration.model.experts?.tokenWire = .int8
        let small = tokenBytes(scenario.simulator().run())
        #expect(small > 0 && small < never / 2)
    }

    // MARK: The checker

    private func plan(
        owners: [RegionID], budgets: [TokenBudget], at round: UInt32, regions: [Int] = [0, 1]
    ) -> Plan {
        guard let key = PublicKey(bytes: [UInt8](repeating: 0, count: 32)) else {
            preconditionFailure("a key has 32 bytes")
        }
        let members = regions.enumerated().map { index, region in
            PlanMember(
                rank: Rank(index), workerID: WorkerID(index), region: RegionID(region),
                name: "w\(index)", endpoint: "", dataKey: key,
                incarnation: Incarnation(rawValue: 1), microBatch: 1, sampleOffset: 0,
                syncEvery: 2, overlap: 0, lastStep: 10, state: .ready, stateSource: .none)
        }
        return Plan(
            planVersion: 3, activateAtRound: round, members: members, fragments: [],
            regionTransform: .fp32, poolTransform: .fp32, samplesPerStep: 2, detours: [],
            experts: [ExpertBlock(start: 0, each: 1, count: 4)],
            expertOwners: owners.map { PlanExpertOwner(region: $0) }, tokenBudgets: budgets)
    }

    @Test func plansThatMustNotBe() {
        let configuration = scenario().configuration
        let own = [RegionID.none, .none, RegionID(0), RegionID(1)]
        let budget = TokenBudget(from: RegionID(0), to: RegionID(1), tokens: 5)
        func objection(_ plan: Plan) -> String? {
            var checker = TokenChecker(configuration)
            return checker.planned(plan, Epoch(rawValue: 1))
        }
        #expect(objection(plan(owners: own, budgets: [budget], at: 4)) == nil)
        #expect(objection(plan(owners: own, budgets: [], at: 0)) == nil)
        #expect(objection(plan(owners: own, budgets: [budget], at: 0)) != nil)
        #expect(objection(plan(owners: own, budgets: [], at: 4, regions: [0, 0])) != nil)
        #expect(objection(plan(owners: [], budgets: [budget], at: 4)) != nil)
        #expect(objection(plan(owners: own, budgets: [budget, budget], at: 4)) != nil)
        let away = TokenBudget(from: RegionID(0), to: RegionID(2), tokens: 5)
        #expect(objection(plan(owners: own, budgets: [away], at: 4)) != nil)
        // Region 0 has one expert left of the two that a token uses.
        let most = [RegionID.none, RegionID(1), RegionID(1), RegionID(1)]
        #expect(objection(plan(owners: most, budgets: [budget], at: 4)) != nil)
        #expect(objection(plan(owners: [RegionID(1)], budgets: [budget], at: 4)) != nil)
    }

    @Test func unlikeStepsUnderBudgets() {
        var checker = TokenChecker(scenario().configuration)
        let own = [RegionID.none, .none, RegionID(0), RegionID(1)]
        let budget = TokenBudget(from: RegionID(0), to: RegionID(1), tokens: 5)
        let epoch = Epoch(rawValue: 1)
        #expect(checker.planned(plan(owners: own, budgets: [budget], at: 4), epoch) == nil)
        #expect(checker.begins(0, step: 9, epoch) == nil)
        #expect(checker.begins(0, step: 10, epoch) == nil)
        #expect(checker.begins(1, step: 10, epoch) != nil)
    }

    /// A dispatch of the first exchange of step 9, of one layer and pass.
    private func rows(_ count: UInt32, from first: UInt32 = 0, with peer: Int) -> TokenParcel {
        TokenParcel(
            peer: WorkerID(peer),
            tokens: Tokens(
                step: 9, exchange: 0, kind: .dispatch, transform: .fp32, width: 8, words: 4,
                passes: 1, tokens: 32, first: first, rows: count, total: 8),
            content: .modelled(bytes: Int(count) * 48))
    }

    /// Seat 0 of region 0 may let 5 tokens go to region 1, which is `seats` - 1 others.
    private func checker(seats: Int = 2) -> TokenChecker {
        var checker = TokenChecker(scenario().configuration)
        let own = [RegionID.none, .none, RegionID(0), RegionID(1)]
        let budget = TokenBudget(from: RegionID(0), to: RegionID(1), tokens: 5)
        let plan = plan(
            owners: own, budgets: [budget], at: 4,
            regions: [0] + Array(repeating: 1, count: seats - 1))
        let objection = checker.planned(plan, Epoch(rawValue: 1))
        #expect(objection == nil)
        return checker
    }

    @Test func moreTokensThanABudgetAreFoundWhenTheyLeave() {
        var checker = checker()
        let epoch = Epoch(rawValue: 1)
        #expect(checker.sends(0, rows(5, with: 1), epoch) == nil)
        #expect(checker.sends(0, rows(1, from: 5, with: 1), epoch)?.hasPrefix("6 tokens") == true)
        // Nobody has given region 1 a budget.
        #expect(checker.sends(1, rows(1, with: 0), epoch)?.contains("budget is 0") == true)
    }

    @Test func tokensForAnotherServerAreFoundWhenTheyLeave() {
        var checker = checker(seats: 3)
        let epoch = Epoch(rawValue: 1)
        #expect(checker.sends(0, rows(2, with: 1), epoch) == nil)
        #expect(checker.sends(0, rows(2, with: 2), epoch)?.contains("does not serve") == true)
    }

    @Test func rowsThatNobodySentAreFoundWhenTheyAreRead() {
        let epoch = Epoch(rawValue: 1)
        func objection(_ read: [TokenParcel]) -> String? {
            var checker = checker()
            _ = checker.sends(0, rows(2, from: 2, with: 1), epoch)
            _ = checker.sends(0, rows(2, with: 1), epoch)
            return checker.takes(
                1, read,
                TokenChecker.Reading(
                    epoch: epoch, step: 9, exchange: 0, kind: .dispatch,
                    members: [WorkerID(0), WorkerID(1)]))
        }
        #expect(objection([rows(2, with: 0), rows(2, from: 2, with: 0)]) == nil)
        #expect(objection([rows(2, with: 0)]) != nil)
        #expect(objection([rows(2, with: 0), rows(2, from: 4, with: 0)]) != nil)
        let other = TokenParcel(
            peer: WorkerID(0), tokens: rows(2, from: 2, with: 0).tokens,
            content: .modelled(bytes: 95))
        #expect(objection([rows(2, with: 0), other]) != nil)
    }
}
