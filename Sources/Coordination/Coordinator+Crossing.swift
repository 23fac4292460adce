import ClusterModel
import WireProtocol

// MARK: - Experts of one region

extension Coordinator {
    /// What budgets of tokens go by.
    func crossingConditions(turn: UInt32) -> ExpertCrossing.Conditions {
        let regions = topology.regions.indices
        var counts = regions.map { _ in 0 }
        for member in members { counts[member.region.index] += 1 }
        let adapts = configuration.schedule.adapts
        let nominal = LinkTime.step(topology)
        let traffic = self.traffic
        return ExpertCrossing.Conditions(
            members: counts,
            samples: topology.regions.map { region in
                region.workers.reduce(0) { $0 + Double($1.microBatch) }
            },
            // Where plans follow nothing measured the file has it, or no budget needs it.
            step: adapts ? slowestStep : nominal ?? 0,
            syncEvery: Double(configuration.schedule.syncEvery),
            roundBytes: regions.map { from in
                regions.map { to in
                    guard to != from else { return 0 }
                    return traffic.values(from: from, to: to)
                        * links.transform(from: from, to: to).storedBytesPerValue
                }
            }, adapts: adapts, turn: turn)
    }

    /// A member waits for tokens that do not come: the step is computed again, by each with what its own
    /// region has, under a plan that lets no token leave. Whom it waits for decides nothing.
    mutating func missTokens(_ connection: ConnectionID, of name: String?, _ now: Instant) {
        guard let reporter = members[connection], reporter.isEstablished,
            !crossing.inForce.budgets.isEmpty
        else { return }
        switch stage {
        case .gathering, .stopping, .ended: return
        // That plan ends the wait already.
        case .reconfiguring where plan?.activateAtRound == 0: return
        case .reconfiguring, .running: break
        }
        crossing.pause(after: committedTurn)
        replanInPlace(
            reason: "\(reporter.name) waits for tokens of \(name ?? "another member"): no "
                + "token leaves its region, and the step is computed again without", now)
    }

    /// What a plan takes away from experts whose region is gone.
    func sayLostExperts(_ plan: Plan) -> Effect? {
        let owners = crossing.inForce.owners.filter { owner in
            owner != .none && !plan.members.contains { $0.region == owner }
        }
        guard plan.activateAtRound == 0, !owners.isEmpty else { return nil }
        let names = Set(owners.map(\.index)).sorted().map { topology.regions[$0].name }
        return .event(
            .note(
                source: "coordinator",
                text: "\(owners.count) experts that \(names.joined(separator: ", ")) alone "
                    + "computed are computed by every region again, as they were after \(turnName) "
                    + "\(committedTurn); what a region that is gone has learnt since then is lost"))
    }

    /// A plan has started.
    mutating func adoptCrossing(_ plan: Plan) {
        let before = crossing.inForce
        crossing.adopt(plan)
        guard crossing.isChoosing, crossing.inForce != before else { return }
        let now = crossing.inForce
        effects.append(
            .event(
                .expertOwners(
                    RunEvent.ExpertOwners(
                        turn: committedTurn, owners: now.owners, budgets: now.budgets))))
    }
}
