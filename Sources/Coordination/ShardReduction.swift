package import ClusterModel

/// The owner's side of a collective: holds contributions to one slice until a chunk position is
/// complete, asks for one fused pass over it, and hands the mean back.
///
/// Contributions are reduced in group order whatever their order of arrival, so the bytes of the mean
/// do not depend on it.
package struct ShardReduction: Sendable {
    /// Everything that can happen to an owner.
    package enum Event: Codable, Equatable, Sendable {
        /// A group's part of a chunk is here, from the wire or from this worker itself. Legal at any
        /// time for a key whose geometry has been opened; a second one for the same place is refused.
        case contribution(Contribution)
        /// The driver has finished the pass asked for by `.reduce` under the same epoch.
        case reduced(key: CollectiveKey, epoch: Epoch, position: Int, mean: PayloadHandle)
        /// The coordinator has closed the set: only these groups count from now on, and for this much.
        case close(key: CollectiveKey, counted: [Counted])
    }

    package struct Counted: Codable, Equatable, Sendable {
        package var group: Int
        package var weight: UInt64
        package init(group: Int, weight: UInt64) {
            self.group = group
            self.weight = weight
        }
    }

    /// One group's part of one chunk.
    package struct Contribution: Codable, Equatable, Sendable {
        package var key: CollectiveKey
        package var position: Int
        package var group: Int
        package var handle: PayloadHandle
        /// Tokens behind the values.
        package var weight: UInt64
        package var mayLeave: Bool
        package init(
            key: CollectiveKey, position: Int, group: Int, handle: PayloadHandle, weight: UInt64,
            mayLeave: Bool
        ) {
            self.key = key
            self.position = position
            self.group = group
            self.handle = handle
            self.weight = weight
            self.mayLeave = mayLeave
        }
    }

    /// Everything an owner can want.
    package enum Effect: Codable, Equatable, Sendable {
        /// Decode, weight, accumulate in this order, encode the mean: one pass.
        case reduce(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, sources: [Source])
        case mean(
            key: CollectiveKey, slice: Int, position: Int, handle: PayloadHandle, weight: UInt64,
            mayLeave: Bool)
        /// The machine no longer refers to these bytes.
        case release(PayloadHandle)
        /// A peer sent what it must not; the bytes are dropped.
        case violation(key: CollectiveKey, group: Int, what: String)
    }

    package struct Source: Codable, Equatable, Sendable {
        package var handle: PayloadHandle
        package var weight: UInt64
        package init(handle: PayloadHandle, weight: UInt64) {
            self.handle = handle
            self.weight = weight
        }
    }

    /// Chunk positions of one slice under reduction.
    struct Shard: Sendable {
        enum Position: Equatable, Sendable {
            case collecting
            case reducing
            case done
        }
        let slice: Int
        let geometry: CollectiveGeometry
        /// Nothing is reduced before the coordinator has said what counts.
        var awaitsClose: Bool
        var expected: [Int]
        /// By group, from CLOSE; nil: what the chunks say.
        var weights: [Int: UInt64] = [:]
        /// `[position][group]`.
        var parts: [[Contribution?]]
        var positions: [Position]
        /// Some position has had everybody's part.
        var hasReduced = false

        init(slice: Int, geometry: CollectiveGeometry, awaitsClose: Bool) {
            self.slice = slice
            self.awaitsClose = awaitsClose
            self.geometry = geometry
            expected = Array(geometry.groups.indices)
            let count = geometry.positionCount(ofSlice: slice)
            parts = Array(
                repeating: Array(repeating: nil, count: geometry.groups.count), count: count)
            positions = Array(repeating: .collecting, count: count)
        }

        private var hasPassedOver = false

        /// Positions that this round leaves out count as done.
        mutating func passOver(_ geometry: CollectiveGeometry) {
            guard !geometry.isWhole, !hasPassedOver else { return }
            hasPassedOver = true
            for position in positions.indices
            where !geometry.isDue(slice: slice, position: position) {
                positions[position] = .done
            }
        }

        var isDone: Bool { positions.allSatisfy { $0 == .done } }

        func weight(_ part: Contribution) -> UInt64 { weights[part.group] ?? part.weight }

        /// Where nobody has trained on anything (a round after the last step), all count alike.
        func sources(_ parts: [Contribution]) -> [Source] {
            let isWeighted = parts.contains { weight($0) > 0 }
            return parts.map { Source(handle: $0.handle, weight: isWeighted ? weight($0) : 1) }
        }
    }

    /// One that is done stays until its collective is over (``abandon(_:)``): a contribution that comes
    /// again is refused, and does not begin another shard, which nothing would complete.
    private(set) var shards: [CollectiveKey: Shard] = [:]

    package init() {}

    /// Collectives that are not over, those that are reduced included.
    package var count: Int { shards.count }

    /// Whether contributions to it are still to be reduced.
    package func isOpen(_ key: CollectiveKey) -> Bool { shards[key]?.isDone == false }

    /// Groups whose part of `key` is not complete yet, in group order.
    package func missingGroups(_ key: CollectiveKey) -> [Int] {
        guard let shard = shards[key], !shard.awaitsClose else { return [] }
        return shard.expected.filter { group in
            shard.parts.indices.contains {
                shard.positions[$0] == .collecting && shard.parts[$0][group] == nil
            }
        }
    }

    /// Whether a group has sent nothing yet of what is collected here, `own` left out; nil: nothing is.
    package func awaitsFirstPart(_ key: CollectiveKey, apartFrom own: Int?) -> Bool? {
        guard let shard = shards[key] else { return nil }
        guard !shard.hasReduced, !shard.isDone else { return false }
        return shard.expected.contains { group in
            group != own && shard.parts.allSatisfy { $0[group] == nil }
        }
    }

    /// Expects contributions to the slice that `rank` owns. Opening twice is harmless; who opens it again
    /// may know what the round passes over.
    package mutating func open(
        _ key: CollectiveKey, geometry: CollectiveGeometry, rank: Rank, awaitsClose: Bool = false
    ) {
        guard let slice = geometry.slice(ownedBy: rank) else { return }
        if shards[key] == nil {
            guard geometry.duePositions(ofSlice: slice) > 0 else { return }
            shards[key] = Shard(slice: slice, geometry: geometry, awaitsClose: awaitsClose)
        }
        shards[key]?.passOver(geometry)
    }

    /// Drops a collective that is over, or was abandoned. A pass under way is ignored when it ends.
    package mutating func abandon(_ key: CollectiveKey) -> [Effect] {
        guard let shard = shards.removeValue(forKey: key) else { return [] }
        return shard.parts.flatMap { $0.compactMap { $0.map { .release($0.handle) } } }
    }

    /// Drops all collectives, in key order.
    package mutating func abandonAll() -> [Effect] {
        shards.keys.sorted().flatMap { abandon($0) }
    }

    package mutating func handle(_ event: Event) -> [Effect] {
        switch event {
        case .contribution(let contribution):
            return contribute(contribution)
        case .reduced(let key, let epoch, let position, let mean):
            return finish(key, epoch, position, mean)
        case .close(let key, let counted):
            return close(key, counted)
        }
    }

    private mutating func contribute(_ part: Contribution) -> [Effect] {
        guard let shard = shards[part.key] else {
            return [
                .release(part.handle),
                .violation(key: part.key, group: part.group, what: "collective is not open here"),
            ]
        }
        guard shard.positions.indices.contains(part.position),
            shard.geometry.groups.indices.contains(part.group)
        else {
            return [
                .release(part.handle),
                .violation(key: part.key, group: part.group, what: "no such chunk or group"),
            ]
        }
        guard shard.parts[part.position][part.group] == nil,
            shard.positions[part.position] == .collecting
        else {
            return [
                .release(part.handle),
                .violation(key: part.key, group: part.group, what: "contributed twice"),
            ]
        }
        shards[part.key]?.parts[part.position][part.group] = part
        return reduceIfComplete(part.key, part.position)
    }

    private mutating func reduceIfComplete(_ key: CollectiveKey, _ position: Int) -> [Effect] {
        guard let shard = shards[key], !shard.awaitsClose,
            shard.positions[position] == .collecting
        else { return [] }
        let parts = shard.expected.compactMap { shard.parts[position][$0] }
        guard parts.count == shard.expected.count else { return [] }
        shards[key]?.positions[position] = .reducing
        shards[key]?.hasReduced = true
        return [
            .reduce(
                key: key, epoch: shard.geometry.epoch, slice: shard.slice, position: position,
                sources: shard.sources(parts))
        ]
    }

    private mutating func finish(
        _ key: CollectiveKey, _ epoch: Epoch, _ position: Int, _ mean: PayloadHandle
    ) -> [Effect] {
        // A pass asked for before a reconfiguration ends here too late: its inputs are gone.
        guard let shard = shards[key], shard.geometry.epoch == epoch,
            shard.positions[position] == .reducing
        else {
            return [.release(mean)]
        }
        let counted = shard.expected.compactMap { shard.parts[position][$0] }
        var effects: [Effect] = shard.parts[position].compactMap { $0.map { .release($0.handle) } }
        effects.append(
            .mean(
                key: key, slice: shard.slice, position: position, handle: mean,
                weight: counted.reduce(0) { saturatingSum($0, shard.weight($1)) },
                mayLeave: counted.allSatisfy(\.mayLeave)))
        shards[key]?.parts[position] = Array(repeating: nil, count: shard.geometry.groups.count)
        shards[key]?.positions[position] = .done
        return effects
    }

    private mutating func close(_ key: CollectiveKey, _ counted: [Counted]) -> [Effect] {
        guard let shard = shards[key] else { return [] }
        let kept = counted.filter { shard.geometry.groups.indices.contains($0.group) }
        guard !kept.isEmpty else { return [] }
        shards[key]?.awaitsClose = false
        shards[key]?.expected = kept.map(\.group).sorted()
        for each in kept { shards[key]?.weights[each.group] = each.weight }
        return shard.positions.indices.flatMap { reduceIfComplete(key, $0) }
    }
}
