package import ClusterModel

/// The owner's side of a collective: holds contributions to its slices until a chunk position is
/// complete, asks for one fused pass over it, and hands the mean back. Of most collectives a worker owns one
/// slice; of the parts that its region contributes, several.
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
        case reduced(
            key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, mean: PayloadHandle)
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
        package var slice: Int
        package var position: Int
        package var group: Int
        package var handle: PayloadHandle
        /// Tokens behind the values.
        package var weight: UInt64
        package var mayLeave: Bool
        package init(
            key: CollectiveKey, slice: Int, position: Int, group: Int, handle: PayloadHandle,
            weight: UInt64, mayLeave: Bool
        ) {
            self.key = key
            self.slice = slice
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
        private(set) var geometry: CollectiveGeometry
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

        /// Who contributes which expert is known from now on.
        ///
        /// - Returns: what has come before of others.
        mutating func learn(_ geometry: CollectiveGeometry) -> [Contribution] {
            self.geometry = geometry
            var refused: [Contribution] = []
            for position in parts.indices {
                for group in parts[position].indices
                where !geometry.contributes(group: group, slice: slice, position: position) {
                    if let part = parts[position][group] { refused.append(part) }
                    parts[position][group] = nil
                }
            }
            return refused
        }

        var isDone: Bool { positions.allSatisfy { $0 == .done } }

        /// Groups whose part of a position counts.
        func expected(_ position: Int) -> [Int] {
            expected.filter {
                geometry.contributes(group: $0, slice: slice, position: position)
            }
        }

        /// A group sends some part of the slice.
        func expects(_ group: Int) -> Bool {
            positions.indices.contains {
                geometry.contributes(group: group, slice: slice, position: $0)
            }
        }

        var missingGroups: [Int] {
            expected.filter { group in
                parts.indices.contains {
                    positions[$0] == .collecting && parts[$0][group] == nil
                        && geometry.contributes(group: group, slice: slice, position: $0)
                }
            }
        }

        private func weight(_ part: Contribution) -> UInt64 { weights[part.group] ?? part.weight }

        /// Where nobody has trained on anything (a round after the last step), all count alike.
        private func sources(_ parts: [Contribution]) -> [Source] {
            let isWeighted = parts.contains { weight($0) > 0 }
            return parts.map { Source(handle: $0.handle, weight: isWeighted ? weight($0) : 1) }
        }

        static let foreignExpert = "contributes an expert that others compute"

        // Changed in place, all three: a copy of a shard would make each change copy all positions.

        /// Keeps a contribution; says why not, if it must not come.
        mutating func take(_ part: Contribution) -> String? {
            guard positions.indices.contains(part.position),
                geometry.groups.indices.contains(part.group)
            else { return "no such chunk or group" }
            guard
                geometry.contributes(
                    group: part.group, slice: part.slice, position: part.position)
            else { return Self.foreignExpert }
            guard parts[part.position][part.group] == nil,
                positions[part.position] == .collecting
            else { return "contributed twice" }
            parts[part.position][part.group] = part
            return nil
        }

        /// The pass over a position; nil as long as something is missing, or if it was asked for already.
        mutating func beginPass(
            _ position: Int
        ) -> (epoch: Epoch, slice: Int, sources: [Source])? {
            guard !awaitsClose, geometry.knowsContributors, positions[position] == .collecting
            else { return nil }
            let expected = expected(position)
            let counted = expected.compactMap { parts[position][$0] }
            guard counted.count == expected.count else { return nil }
            positions[position] = .reducing
            hasReduced = true
            return (geometry.epoch, slice, sources(counted))
        }

        /// All parts of a position, which may go, and what the counted ones say together; nil if no pass of
        /// `epoch` is under way over it.
        mutating func endPass(
            _ position: Int, _ epoch: Epoch
        ) -> (parts: [PayloadHandle], weight: UInt64, mayLeave: Bool)? {
            guard geometry.epoch == epoch, positions[position] == .reducing else { return nil }
            let counted = expected(position).compactMap { parts[position][$0] }
            let all = parts[position].compactMap { $0?.handle }
            parts[position] = Array(repeating: nil, count: geometry.groups.count)
            positions[position] = .done
            return (
                all, counted.reduce(0) { saturatingSum($0, weight($1)) },
                counted.allSatisfy(\.mayLeave)
            )
        }
    }

    /// By slice. One that is done stays until its collective is over (``abandon(_:)``): a contribution that
    /// comes again is refused, and does not begin another shard, which nothing would complete.
    private(set) var shards: [CollectiveKey: [Shard]] = [:]

    package init() {}

    /// Collectives that are not over, those that are reduced included.
    package var count: Int { shards.count }

    /// Whether contributions to it are still to be reduced.
    package func isOpen(_ key: CollectiveKey) -> Bool {
        shards[key]?.contains { !$0.isDone } ?? false
    }

    /// Groups whose part of `key` is not complete yet, in group order.
    package func missingGroups(_ key: CollectiveKey) -> [Int] {
        let missing = (shards[key] ?? []).flatMap { $0.awaitsClose ? [] : $0.missingGroups }
        return Set(missing).sorted()
    }

    /// Whether a group has sent nothing yet of what is collected here, `own` left out; nil: nothing is.
    package func awaitsFirstPart(_ key: CollectiveKey, apartFrom own: Int?) -> Bool? {
        guard let shards = shards[key], !shards.isEmpty else { return nil }
        guard !shards.contains(where: { $0.hasReduced }), isOpen(key) else { return false }
        return shards[0].expected.contains { group in
            group != own && shards.contains { $0.expects(group) }
                && shards.allSatisfy { $0.parts.allSatisfy { $0[group] == nil } }
        }
    }

    /// Expects contributions to the slices that `rank` owns. Opening twice is harmless; who opens it again
    /// may know what the round passes over, and who contributes which expert.
    @discardableResult
    package mutating func open(
        _ key: CollectiveKey, geometry: CollectiveGeometry, rank: Rank, awaitsClose: Bool = false
    ) -> [Effect] {
        if shards[key] == nil {
            let owned = geometry.slices(ownedBy: rank).filter {
                geometry.duePositions(ofSlice: $0) > 0
            }
            guard !owned.isEmpty else { return [] }
            shards[key] = owned.map {
                Shard(slice: $0, geometry: geometry, awaitsClose: awaitsClose)
            }
        }
        var effects: [Effect] = []
        for place in (shards[key] ?? []).indices {
            shards[key]?[place].passOver(geometry)
            guard geometry.knowsContributors,
                shards[key]?[place].geometry.knowsContributors == false
            else { continue }
            for part in shards[key]?[place].learn(geometry) ?? [] {
                effects += refusal(of: part, Shard.foreignExpert)
            }
            for position in shards[key]?[place].positions.indices ?? 0..<0 {
                effects += reduceIfComplete(key, place, position)
            }
        }
        return effects
    }

    private func refusal(of part: Contribution, _ what: String) -> [Effect] {
        [.release(part.handle), .violation(key: part.key, group: part.group, what: what)]
    }

    /// Drops a collective that is over, or was abandoned. A pass under way is ignored when it ends.
    package mutating func abandon(_ key: CollectiveKey) -> [Effect] {
        (shards.removeValue(forKey: key) ?? []).flatMap { shard in
            shard.parts.flatMap { $0.compactMap { $0.map { .release($0.handle) } } }
        }
    }

    /// Drops all collectives, in key order.
    package mutating func abandonAll() -> [Effect] {
        shards.keys.sorted().flatMap { abandon($0) }
    }

    package mutating func handle(_ event: Event) -> [Effect] {
        switch event {
        case .contribution(let contribution):
            return contribute(contribution)
        case .reduced(let key, let epoch, let slice, let position, let mean):
            return finish(key, epoch, slice, position, mean)
        case .close(let key, let counted):
            return close(key, counted)
        }
    }

    private func place(_ key: CollectiveKey, _ slice: Int) -> Int? {
        shards[key]?.firstIndex { $0.slice == slice }
    }

    private mutating func contribute(_ part: Contribution) -> [Effect] {
        guard let place = place(part.key, part.slice) else {
            return refusal(of: part, "collective is not open here")
        }
        if let what = shards[part.key]?[place].take(part) {
            return refusal(of: part, what)
        }
        return reduceIfComplete(part.key, place, part.position)
    }

    private mutating func reduceIfComplete(
        _ key: CollectiveKey, _ place: Int, _ position: Int
    ) -> [Effect] {
        guard let pass = shards[key]?[place].beginPass(position) else { return [] }
        return [
            .reduce(
                key: key, epoch: pass.epoch, slice: pass.slice, position: position,
                sources: pass.sources)
        ]
    }

    private mutating func finish(
        _ key: CollectiveKey, _ epoch: Epoch, _ slice: Int, _ position: Int, _ mean: PayloadHandle
    ) -> [Effect] {
        // A pass asked for before a reconfiguration ends here too late: its inputs are gone.
        guard let place = place(key, slice),
            let passed = shards[key]?[place].endPass(position, epoch)
        else {
            return [.release(mean)]
        }
        var effects: [Effect] = passed.parts.map { .release($0) }
        effects.append(
            .mean(
                key: key, slice: slice, position: position, handle: mean, weight: passed.weight,
                mayLeave: passed.mayLeave))
        return effects
    }

    private mutating func close(_ key: CollectiveKey, _ counted: [Counted]) -> [Effect] {
        guard let owned = shards[key] else { return [] }
        var effects: [Effect] = []
        for (place, shard) in owned.enumerated() {
            let kept = counted.filter { shard.geometry.groups.indices.contains($0.group) }
            guard !kept.isEmpty else { continue }
            shards[key]?[place].awaitsClose = false
            shards[key]?[place].expected = kept.map(\.group).sorted()
            for each in kept { shards[key]?[place].weights[each.group] = each.weight }
            effects += shard.positions.indices.flatMap { reduceIfComplete(key, place, $0) }
        }
        return effects
    }
}
