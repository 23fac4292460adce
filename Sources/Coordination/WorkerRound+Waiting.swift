package import ClusterModel
import WireProtocol

// MARK: - Waiting

/// Why a trainer has nothing to do.
package enum IdleKind: String, Codable, CaseIterable, Sendable {
    /// A peer or the coordinator has not got there yet.
    case wait
    /// Bytes of the collective are on their way.
    case transfer
    /// A reconfiguration or a state transfer.
    case recover
}

extension WorkerRound {
    /// A worker waits until each replica has begun to send; from then on it waits for bytes.
    package func idleKind(shards: ShardReduction) -> IdleKind {
        if isFrozen { return .recover }
        switch stage {
        case .sharing(let key):
            guard let exchange = exchange(key), let rank = plan?.rank else { return .wait }
            let geometry = exchange.geometry
            let awaits = [
                exchange.parts.flatMap {
                    shards.awaitsFirstPart($0.key, apartFrom: $0.geometry.group(of: rank))
                },
                shards.awaitsFirstPart(key, apartFrom: geometry.group(of: rank)),
            ].compactMap(\.self)
            if !awaits.isEmpty { return awaits.contains(true) ? .wait : .transfer }
            // All that this worker owns is reduced. One that owns nothing goes by anything that has come.
            let owns = geometry.slice(ownedBy: rank).map { geometry.duePositions(ofSlice: $0) > 0 }
            return owns == true || exchange.firstArrival != nil ? .transfer : .wait
        case .idle, .computing, .readyToShare, .readyToExchange, .awaitingCommit, .absorbing,
            .trained:
            return .wait
        }
    }

    /// What the worker waits for, in words, and for which members; nil while it works.
    package func waiting(shards: ShardReduction) -> (activity: String, ranks: [Rank])? {
        if isFrozen { return (plan == nil ? "the first plan" : "the new plan to start", []) }
        switch stage {
        case .sharing(let key):
            guard let exchange = exchange(key) else { return nil }
            var contributors = shards.missingGroups(key).map {
                exchange.geometry.sender(
                    group: $0,
                    slice: plan.flatMap { exchange.geometry.slice(ownedBy: $0.rank) } ?? 0)
            }
            if let parts = exchange.parts {
                // This worker's region is missing as long as one of its members is.
                let members = shards.missingGroups(parts.key).map { parts.geometry.groups[$0][0] }
                contributors = (contributors + members).filter { $0 != plan?.rank }
            }
            let ranks = contributors.isEmpty ? exchange.missingOwners : contributors
            return (Self.describe(key), ranks.filter { $0 != plan?.rank })
        case .awaitingCommit(let key):
            return (
                "the commit of \(Self.describe(order.key(of: order.turn(of: key) - order.count)))",
                []
            )
        case .readyToShare(let next, _) where waitsForCommit(beforeSharing: next):
            return (awaitedCommit, [])
        case .idle where plan.map { step >= $0.pace.lastStep } ?? false:
            return (awaitedCommit, [])
        case .idle, .computing, .readyToShare, .readyToExchange, .absorbing:
            return nil
        case .trained:
            return ("the commit of the last round", [])
        }
    }

    /// The commit without which the next turn may not leave.
    private var awaitedCommit: String {
        if schedule.closesSets { return "the round that takes in what it has offered last" }
        let turn = departedTurn + 1
        guard turn > order.count else { return "the first turn" }
        return "the commit of \(Self.describe(order.key(of: turn - order.count)))"
    }

    static func describe(_ key: CollectiveKey) -> String {
        switch key.scope {
        case .region: "gradients of step \(key.round)"
        case .pool where key.fragment == FragmentID(0): "outer round \(key.round)"
        case .pool: "outer round \(key.round) of fragment \(key.fragment.rawValue)"
        }
    }
}
