package import ClusterModel
import Coordination
package import WireProtocol

/// Tokens between regions, and the plans that let them go, once more from the specification (sections 6.4
/// and 7.10): what a member reads is what the other one sent, no more leave than the plan's budget lets
/// go, to the member that has to serve them; owners and budgets are only where they may be.
package struct TokenChecker {
    private let configuration: RunConfiguration
    private var plans: [Epoch: Plan] = [:]
    private var newest = Epoch.none
    /// What is on its way, by receiver. Asked, never iterated.
    private var sent: [Half: [Rows]] = [:]
    /// Tokens that have left in a step, by sender and region. Asked, never iterated.
    private var left: [Departure: Int] = [:]
    /// The first step computed under a plan with budgets.
    private var firstSteps: [Epoch: UInt32] = [:]
    private var isBegun: Set<Life> = []

    private struct Half: Hashable {
        var epoch: Epoch
        var step: UInt32
        var exchange: UInt32
        var kind: Tokens.Kind
        var from: WorkerID
        var to: WorkerID
    }

    private struct Rows: Equatable {
        var first: UInt32
        var total: UInt32
        var content: PayloadPool.Content?
    }

    private struct Departure: Hashable {
        var epoch: Epoch
        var step: UInt32
        var from: WorkerID
        var to: RegionID
    }

    private struct Life: Hashable {
        var epoch: Epoch
        var seat: Int
    }

    package init(_ configuration: RunConfiguration) { self.configuration = configuration }

    // MARK: Plans

    /// What is wrong with who owns what and with what may leave; nil if nothing is.
    package mutating func planned(_ plan: Plan, _ epoch: Epoch) -> String? {
        guard let experts = configuration.model.experts, experts.crossing != nil else {
            return plan.expertOwners.isEmpty && plan.tokenBudgets.isEmpty
                ? nil : "a plan has owners, and nothing asks for any"
        }
        plans[epoch] = plan
        newest = max(newest, epoch)
        forget()
        let what = "plan \(plan.planVersion)"
        let present = Set(plan.members.map(\.region)).sorted()
        let owners = plan.expertOwners.map(\.region).filter { $0 != .none }
        if let gone = owners.first(where: { !present.contains($0) }) {
            return "\(what) has experts of region \(gone.rawValue), which has no member"
        }
        let blocks = plan.experts.map { Int($0.count) }
        if !plan.expertOwners.isEmpty {
            guard plan.expertOwners.count == blocks.reduce(0, +) else {
                return "\(what) has owners of \(plan.expertOwners.count) experts"
            }
            var first = 0
            for count in blocks {
                let block = plan.expertOwners[first..<first + count].map(\.region)
                first += count
                for region in present {
                    let own = block.count { $0 == .none || $0 == region }
                    if own < experts.topK {
                        return "\(what) leaves region \(region.rawValue) \(own) experts of a block"
                    }
                }
            }
        }
        guard !plan.tokenBudgets.isEmpty else { return nil }
        if plan.activateAtRound == 0 { return "\(what) holds at once and lets tokens leave" }
        if owners.isEmpty { return "\(what) lets tokens leave, and no expert has an owner" }
        let pairs = plan.tokenBudgets.map { [$0.from, $0.to] }
        if Set(pairs).count < pairs.count || pairs.contains(where: { $0[0] == $0[1] }) {
            return "\(what) has two budgets for one direction, or one inside a region"
        }
        return pairs.joined().allSatisfy(present.contains)
            ? nil : "\(what) has budgets of a region without members"
    }

    /// Of plans that are over only the last one can still be meant.
    private mutating func forget() {
        guard plans.count > 8 else { return }
        let old = Set(plans.keys.sorted().dropLast(4))
        plans = plans.filter { !old.contains($0.key) }
        sent = sent.filter { !old.contains($0.key.epoch) }
        left = left.filter { !old.contains($0.key.epoch) }
        firstSteps = firstSteps.filter { !old.contains($0.key) }
        isBegun = isBegun.filter { !old.contains($0.epoch) }
    }

    /// Under budgets all members begin with the same step.
    package mutating func begins(_ seat: Int, step: UInt32, _ epoch: Epoch) -> String? {
        guard let plan = plans[epoch], !plan.tokenBudgets.isEmpty,
            isBegun.insert(Life(epoch: epoch, seat: seat)).inserted
        else { return nil }
        guard let first = firstSteps[epoch] else {
            firstSteps[epoch] = step
            return nil
        }
        return first == step
            ? nil
            : "seat \(seat) begins plan \(plan.planVersion) with step \(step), others with \(first), "
                + "and tokens may leave"
    }

    // MARK: Rows

    /// What is wrong with rows that leave; nil if nothing is.
    package mutating func sends(
        _ seat: Int, _ parcel: TokenParcel, _ epoch: Epoch
    ) -> String? {
        let tokens = parcel.tokens
        let half = Half(
            epoch: epoch, step: tokens.step, exchange: tokens.exchange, kind: tokens.kind,
            from: WorkerID(seat), to: parcel.peer)
        sent[half, default: []].append(
            Rows(first: tokens.first, total: tokens.total, content: parcel.content))
        guard tokens.kind == .dispatch, tokens.rows > 0, let plan = plans[epoch],
            let me = plan.members.first(where: { $0.workerID == WorkerID(seat) }),
            let peer = plan.members.first(where: { $0.workerID == parcel.peer })
        else { return nil }
        let layers = UInt32(plan.experts.count)
        let place = tokens.exchange % (2 * layers)
        // Backwards those come that went forwards.
        guard place < layers else { return nil }
        return leaves(
            Int(tokens.rows), from: me, to: peer, plan,
            Departure(epoch: epoch, step: tokens.step, from: me.workerID, to: peer.region),
            part: Int(tokens.exchange / (2 * layers) * layers + place),
            of: Int(layers) * Int(tokens.passes))
    }

    private mutating func leaves(
        _ rows: Int, from me: PlanMember, to peer: PlanMember, _ plan: Plan,
        _ departure: Departure, part: Int, of parts: Int
    ) -> String? {
        left[departure, default: 0] += rows
        let count = left[departure] ?? 0
        let region = plan.members.filter { $0.region == me.region }
        let samples = region.reduce(0) { $0 + Int($1.microBatch) }
        let budget = plan.tokenBudgets.first { $0.from == me.region && $0.to == peer.region }
        let own = Int(budget?.tokens ?? 0) * Int(me.microBatch) / max(1, samples)
        if count > own * (part + 1) / parts {
            return "\(count) tokens of \(me.name) have left for region \(peer.region.rawValue) "
                + "by part \(part) of \(parts) of step \(departure.step); its budget is \(own)"
        }
        let servers = plan.members.filter { $0.region == peer.region }
        let place = region.firstIndex { $0.workerID == me.workerID } ?? 0
        return servers[place % servers.count].workerID == peer.workerID
            ? nil : "tokens of \(me.name) go to \(peer.name), which does not serve them"
    }

    /// Whose rows a member reads, and of which half of an exchange.
    package struct Reading {
        var epoch: Epoch
        var step: UInt32
        var exchange: UInt32
        var kind: Tokens.Kind
        var members: [WorkerID]

        package init(
            epoch: Epoch, step: UInt32, exchange: UInt32, kind: Tokens.Kind, members: [WorkerID]
        ) {
            self.epoch = epoch
            self.step = step
            self.exchange = exchange
            self.kind = kind
            self.members = members
        }

        init(_ step: TokenStep) {
            self.init(
                epoch: step.plan.epoch, step: step.step, exchange: step.exchange,
                kind: step.kind, members: step.members)
        }
    }

    /// What is wrong with what a member has read of all others; nil if nothing is.
    package mutating func takes(
        _ seat: Int, _ parcels: [TokenParcel], _ reading: Reading
    ) -> String? {
        for member in reading.members where member != WorkerID(seat) {
            let half = Half(
                epoch: reading.epoch, step: reading.step, exchange: reading.exchange,
                kind: reading.kind, from: member, to: WorkerID(seat))
            let expected = (sent.removeValue(forKey: half) ?? []).sorted { $0.first < $1.first }
            let found = parcels.filter { $0.peer == member }.map {
                Rows(first: $0.tokens.first, total: $0.tokens.total, content: $0.content)
            }.sorted { $0.first < $1.first }
            guard expected == found else {
                return "seat \(seat) reads other rows than seat \(member.rawValue) sent in step "
                    + "\(reading.step), exchange \(reading.exchange)"
            }
        }
        return nil
    }
}
