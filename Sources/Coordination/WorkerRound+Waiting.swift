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
    /// A worker waits until each group has begun to send; from then on it waits for bytes.
    package func idleKind(shards: ShardReduction) -> IdleKind {
        if isFrozen { return .recover }
        switch stage {
        case .sharing(let key):
            guard let geometry = geometry(underWay: key), let rank = plan?.rank else {
                return .wait
            }
            let parts = parts(underWay: key)
            let ofParts = parts.flatMap {
                shards.awaitsFirstPart($0.key, apartFrom: $0.geometry.group(of: rank))
            }
            let ofRound = shards.awaitsFirstPart(key, apartFrom: geometry.group(of: rank))
            if ofParts ?? ofRound != nil {
                return ofParts == true || ofRound == true ? .wait : .transfer
            }
            // All that this worker owns is reduced. One that owns nothing goes by anything that has come.
            let owns = geometry.slice(ownedBy: rank).map { geometry.duePositions(ofSlice: $0) > 0 }
            return owns == true || exchange(key)?.firstArrival != nil ? .transfer : .wait
        case .idle, .computing, .readyToShare, .readyToExchange, .awaitingCommit, .absorbing,
            .trained:
            return .wait
        }
    }

    private func parts(underWay key: CollectiveKey) -> Exchange.Parts? {
        if inner?.key == key { return inner?.parts }
        return flights.firstIndex { $0.key == key }.flatMap { flights[$0].parts }
    }

    /// What a worker waits for, as far as a new wait must be told from the one before.
    enum Wait: Equatable, Sendable {
        case plan(isFirst: Bool)
        /// Whose parts or means: see `waiting`, which looks through all positions.
        case shares(CollectiveKey)
        case commit(CollectiveKey)
        case firstTurn, offerTaken, lastCommit
    }

    /// Asked for after every event; `waiting` says it in words. Nil while it works.
    var wait: Wait? {
        if isFrozen { return .plan(isFirst: plan == nil) }
        switch stage {
        case .sharing(let key): return isUnderWay(key) ? .shares(key) : nil
        case .awaitingCommit(let key):
            return .commit(order.key(of: order.turn(of: key) - order.count))
        case .readyToShare(let next, _) where waitsForCommit(beforeSharing: next):
            return awaitedCommit
        case .idle where plan.map { step >= $0.pace.lastStep } ?? false: return awaitedCommit
        case .idle, .computing, .readyToShare, .readyToExchange, .absorbing: return nil
        case .trained: return .lastCommit
        }
    }

    private func isUnderWay(_ key: CollectiveKey) -> Bool {
        inner?.key == key || flights.contains { $0.key == key }
    }

    /// Members of a group that may have to send something of this worker's slice.
    private func senders(of group: Int, to exchange: Exchange) -> [Rank] {
        let geometry = exchange.geometry
        if plan?.keepsExperts == true, exchange.key.scope == .pool { return geometry.groups[group] }
        let slice = plan.flatMap { geometry.slice(ownedBy: $0.rank) } ?? 0
        return [geometry.sender(group: group, slice: slice)]
    }

    /// What the worker waits for, in words, and for which members; nil while it works.
    package func waiting(shards: ShardReduction) -> (activity: String, ranks: [Rank])? {
        guard let wait else { return nil }
        switch wait {
        case .plan(let isFirst): return (isFirst ? "the first plan" : "the new plan to start", [])
        case .shares(let key):
            guard let exchange = exchange(key) else { return nil }
            var contributors = shards.missingGroups(key).flatMap {
                senders(of: $0, to: exchange)
            }
            if let parts = exchange.parts {
                // This worker's region is missing as long as one of its members is.
                let members = shards.missingGroups(parts.key).map { parts.geometry.groups[$0][0] }
                contributors = (contributors + members).filter { $0 != plan?.rank }
            }
            let ranks = contributors.isEmpty ? exchange.missingOwners : contributors
            return (Self.describe(key), ranks.filter { $0 != plan?.rank })
        case .commit(let key): return ("the commit of \(Self.describe(key))", [])
        case .firstTurn: return ("the first turn", [])
        case .offerTaken: return ("the round that takes in what it has offered last", [])
        case .lastCommit: return ("the commit of the last round", [])
        }
    }

    /// The commit without which the next turn may not leave.
    private var awaitedCommit: Wait {
        if schedule.closesSets { return .offerTaken }
        let turn = departedTurn + 1
        guard turn > order.count else { return .firstTurn }
        return .commit(order.key(of: turn - order.count))
    }

    /// Of parts: the round's name.
    func describe(_ key: CollectiveKey) -> String {
        let round = plan?.reducesParts == true ? key.roundOfParts : nil
        return Self.describe(round ?? key)
    }

    static func describe(_ key: CollectiveKey) -> String {
        switch key.scope {
        case .region: "gradients of step \(key.round)"
        case .pool where key.fragment == FragmentID(0): "outer round \(key.round)"
        case .pool: "outer round \(key.round) of fragment \(key.fragment.rawValue)"
        }
    }
}
