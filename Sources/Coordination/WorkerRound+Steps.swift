import ClusterModel
import WireProtocol

// MARK: - Deciding what is next

extension WorkerRound {
    /// Goes as far as the present knowledge allows.
    mutating func advance(_ now: Instant) {
        var moved = true
        while moved { moved = advanceOnce(now) }
    }

    private mutating func advanceOnce(_ now: Instant) -> Bool {
        guard let plan else { return false }
        switch stage {
        case .idle:
            guard !isFrozen else { return false }
            guard step >= plan.pace.lastStep else {
                if let boundary, appliedTurn >= boundary { return false }
                mayDepart = false
                // It leaves with what is trained from here on.
                hasRest = false
                stage = .computing(step: step + 1)
                effects.append(
                    .train(.compute(step: step + 1, samples: plan.samples(ofStep: step + 1))))
                return true
            }
            return finish()
        case .readyToShare(let next, let tokens):
            guard !isFrozen, !waitsForCommit(beforeSharing: next) else { return false }
            if plan.replica.count > 1, !plan.schedule.isOneCollective {
                share(.inner(region: region, step: next), TrainedTokens(all: tokens), now)
                stage = .sharing(.inner(region: region, step: next))
            } else {
                gradientIsWhole(next, tokens)
            }
            return true
        case .readyToExchange(let key, let weight):
            guard !isFrozen else { return false }
            depart(key, weight: weight, now)
            return true
        case .sharing(let key):
            guard isComplete(key) else { return false }
            stage = .awaitingCommit(key)
            return true
        case .awaitingCommit(let key):
            guard
                key.scope == .region
                    || fragments[key.fragment.index].committedRound + 1 >= key.round
            else { return false }
            absorb(exchange(key), key)
            return true
        case .trained where schedule.closesSets:
            guard let flight = flights.first, flight.isComplete else { return false }
            stage = .sharing(flight.key)
            return true
        case .trained:
            // Replicas that trained on through an outage, or resumed at unlike steps, need unlike
            // numbers of rounds: who has finished takes part in the others' with no tokens.
            guard !isFrozen, calledTurn > appliedTurn || owesExperts || owesRest,
                flights.isEmpty,
                !plan.expertRounds.leavesSomeOut || knowsCommit(before: departedTurn + 1)
            else { return false }
            let key = order.key(of: departedTurn + 1)
            stage = .readyToExchange(key, weight: fragments[key.fragment.index].tokens)
            return true
        case .computing, .absorbing:
            return false
        }
    }

    /// The last step is taken: what has to leave still leaves, what is under way is waited for.
    private mutating func finish() -> Bool {
        settle()
        guard stage == .idle else { return true }
        guard !isDue(at: step), offer == nil else { return false }
        stage = .trained
        effects.append(.trained)
        return true
    }

    /// Starts (or starts again) this worker's part in a collective.
    mutating func share(
        _ key: CollectiveKey, _ weight: TrainedTokens, left: UInt32 = 0,
        appliesAt: UInt32 = 0, isFirst: Bool = true, _ now: Instant
    ) {
        guard let plan else { return }
        let geometry = geometry(of: key, plan)
        let parts = plan.partsKey(of: key).map {
            Exchange.Parts(
                key: $0, geometry: regionGeometry(of: $0, plan).passingOver(as: geometry))
        }
        var exchange = Exchange(
            key: key, geometry: geometry, parts: parts, weight: weight,
            mayLeave: mayLeave, began: now)
        exchange.left = left
        exchange.appliesAt = appliesAt
        keep(exchange)
        let sent = exchange.contributes
        // Alone, a region's parts make the mean.
        if parts == nil || plan.groupCount > 1 { effects.append(.openShard(key)) }
        if let parts { effects.append(.openShard(parts.key)) }
        defer { takeEarlyMeans(of: key, now) }
        let overlaps = appliesAt > left
        let source: TrainerOrder.Source =
            key.scope == .region || schedule.sharesGradients
            ? .gradient : overlaps ? .keptOuterGradient : .outerGradient
        // One order for each transform; the first keeps what all encode.
        var keeps = overlaps && isFirst
        // Inside a region nothing is withheld from what others contribute.
        let keepers = keepers(of: sent.key, plan)
        let absent =
            sent.key.scope == .pool
            ? chunks(sent.geometry, by: plan.rank, due: false, keepers) : []
        let elsewhere = absent.filter {
            sent.geometry.isDue(slice: $0.slice, position: $0.position)
        }
        let chunks = chunks(sent.geometry, by: plan.rank, keepers)
        for (transform, chunks) in byTransform(chunks, sent.key, plan) {
            effects.append(
                .train(
                    .encode(
                        TrainerOrder.Encoding(
                            key: sent.key, round: key, epoch: plan.epoch, source: source,
                            keeps: keeps, transform: transform, chunks: chunks, absent: absent,
                            elsewhere: elsewhere, fragment: elementRanges(of: key)))))
            keeps = false
        }
    }

    /// In the order in which the transforms first occur.
    func byTransform(
        _ chunks: [TrainerOrder.Chunk], _ key: CollectiveKey, _ plan: ActivePlan
    ) -> [(TransformID, [TrainerOrder.Chunk])] {
        guard let first = chunks.first else { return [(plan.plan.poolTransform, [])] }
        let geometry = plan.geometry(of: key)
        let transforms = (0..<geometry.sliceCount).map {
            plan.contributionTransform(
                of: key, from: plan.rank, to: geometry.owner(ofSlice: $0))
        }
        let whole = transforms[first.slice]
        guard transforms.contains(where: { $0 != whole }) else { return [(whole, chunks)] }
        var parts: [(TransformID, [TrainerOrder.Chunk])] = []
        for chunk in chunks {
            let transform = transforms[chunk.slice]
            if let place = parts.firstIndex(where: { $0.0 == transform }) {
                parts[place].1.append(chunk)
            } else {
                parts.append((transform, [chunk]))
            }
        }
        return parts
    }

    /// In place of an earlier attempt, or as the newest.
    private mutating func keep(_ exchange: Exchange) {
        if exchange.key.scope == .region {
            inner = exchange
        } else if let index = flights.firstIndex(where: { $0.key == exchange.key }) {
            flights[index] = exchange
        } else {
            flights.append(exchange)
        }
    }

    /// Position by position through all slices, so that every owner has something to reduce from the
    /// start; beginning with the owner after `rank`, so that not all senders turn to the same one. To each
    /// owner all send in one order, so that what it holds is soon complete.
    ///
    /// - Parameters:
    ///   - due: false: what the round passes over of the same slices, and what another region alone, or
    ///     another member, contributes.
    ///   - keepers: of ``keepers(of:_:)``.
    func chunks(
        _ geometry: CollectiveGeometry, by rank: Rank, due: Bool = true, _ keepers: [Rank?] = []
    ) -> [TrainerOrder.Chunk] {
        if !due, geometry.isContributedWhole, keepers.isEmpty { return [] }
        let group = geometry.group(of: rank)
        func isSent(_ slice: Int, _ position: Int) -> Bool {
            guard geometry.isDue(slice: slice, position: position) else { return false }
            guard let group else { return true }
            guard geometry.contributes(group: group, slice: slice, position: position) else {
                return false
            }
            guard !keepers.isEmpty else { return true }
            let expert = geometry.expert(ofSlice: slice, position: position)
            return (expert.flatMap { keepers[$0] } ?? geometry.sender(group: group, slice: slice))
                == rank
        }
        let slices =
            keepers.isEmpty ? geometry.slicesSent(by: rank) : Array(0..<geometry.sliceCount)
        let rotated = inTurn(geometry, slices, by: rank)
        let counts = rotated.map { geometry.positionCount(ofSlice: $0) }
        var chunks: [TrainerOrder.Chunk] = []
        chunks.reserveCapacity(counts.reduce(0, +))
        for position in 0..<(counts.max() ?? 0) {
            for (slice, count) in zip(rotated, counts)
            where position < count && isSent(slice, position) == due {
                chunks.append(
                    TrainerOrder.Chunk(
                        slice: slice, position: position,
                        range: geometry.range(ofSlice: slice, position: position)))
            }
        }
        return chunks
    }

    /// One slice of each owner, then the next of each.
    private func inTurn(
        _ geometry: CollectiveGeometry, _ slices: [Int], by rank: Rank
    ) -> [Int] {
        var taken: [Rank: Int] = [:]
        let keyed = slices.map { slice -> (turn: Int, isAfter: Bool, owner: Rank, slice: Int) in
            let owner = geometry.owner(ofSlice: slice)
            defer { taken[owner, default: 0] += 1 }
            return (taken[owner] ?? 0, owner > rank, owner, slice)
        }
        return keyed.sorted {
            ($0.turn, $0.isAfter ? 0 : 1, $0.owner) < ($1.turn, $1.isAfter ? 0 : 1, $1.owner)
        }.map(\.slice)
    }

    /// Ranges of the parameter vector that `key` covers.
    func elementRanges(of key: CollectiveKey) -> [ElementRange] {
        guard let plan else { return [] }
        switch key.scope {
        case .region: return plan.regionOrder
        case .pool: return plan.plan.fragments.first { $0.id == key.fragment }?.ranges ?? []
        }
    }

    /// What this worker has for `next` is in the trainer: step on it, or average it over the pool.
    private mutating func gradientIsWhole(_ next: UInt32, _ tokens: UInt64) {
        if schedule.sharesGradients {
            fragments[0].tokens = tokens
            stage = .readyToExchange(order.key(of: departedTurn + 1), weight: tokens)
        } else {
            plainTokens = tokens
            // The values are in place already: a replica of one.
            absorb(nil, .inner(region: region, step: next))
        }
    }

    private mutating func absorb(_ exchange: Exchange?, _ key: CollectiveKey) {
        guard let plan else { return }
        let target: TrainerOrder.Target =
            switch key.scope {
            case .region: .optimiserStep
            case .pool: schedule.sharesGradients ? .pooledOptimiserStep : .outerStep
            }
        stage = .absorbing(key, target)
        let blend =
            target == .outerStep
            ? schedule.blend(left: exchange?.left ?? step, pace: plan.pace) : 0
        effects.append(
            .train(
                .absorb(
                    TrainerOrder.Absorption(
                        key: key, step: target == .outerStep ? step : step + 1,
                        turn: key.scope == .pool ? order.turn(of: key) : appliedTurn,
                        target: target, blend: blend,
                        carried: target == .outerStep ? carried(exchange) : nil,
                        fragment: elementRanges(of: key),
                        means: exchange?.decodable ?? []))))
    }
}

// MARK: - Trainer's answers

extension WorkerRound {
    mutating func computed(_ computedStep: UInt32, _ loss: Double, _ tokens: UInt64) {
        guard stage == .computing(step: computedStep) else {
            effects.append(.violation("gradient of step \(computedStep) in stage \(stage)"))
            return
        }
        guard !repeatsStep else {
            repeatsStep = false
            stage = .idle
            return
        }
        stage = .readyToShare(step: computedStep, tokens: tokens)
        guard computedStep > steppedAt else { return }
        steppedAt = computedStep
        effects.append(
            .event(.stepped(worker: worker, step: computedStep, loss: loss, tokens: tokens)))
    }

    mutating func interrupted(_ step: UInt32) {
        guard stage == .computing(step: step) else {
            effects.append(.violation("step \(step) was given up in stage \(stage)"))
            return
        }
        repeatsStep = false
        stage = .idle
    }

    mutating func encoded(
        _ key: CollectiveKey, _ epoch: Epoch, _ slice: Int, _ position: Int,
        _ payload: EncodedPayload
    ) {
        guard let plan, let exchange = exchange(contributing: key),
            exchange.geometry.epoch == epoch, plan.epoch == epoch,
            let group = exchange.contributes.geometry.group(of: plan.rank)
        else {
            effects.append(.release(payload.handle))
            return
        }
        let geometry = exchange.contributes.geometry
        let expert = geometry.expert(ofSlice: slice, position: position)
        let weight =
            key.scope == .region && geometry.contributor(ofExpert: expert) != nil
            ? plan.tokensOfRegion(own: exchange.weight.all) : exchange.weight.weight(of: expert)
        effects.append(
            .contribute(
                to: geometry.owner(ofSlice: slice), key: key, slice: slice,
                position: position, group: group, payload: payload,
                weight: weight,
                mayLeave: exchange.mayLeave))
    }

    mutating func absorbed(
        _ key: CollectiveKey, _ target: TrainerOrder.Target, _ digest: UInt64, _ experts: [Float]
    ) {
        guard stage == .absorbing(key, target) else {
            effects.append(.violation("\(target) of \(key) ended in stage \(stage)"))
            return
        }
        let exchange = exchange(key)
        let mayLeave = exchange?.allMayLeave ?? self.mayLeave
        retire(exchange)
        switch target {
        case .optimiserStep:
            countTokens(exchange?.totalWeight ?? plainTokens, experts)
            step += 1
            mayDepart = mayLeave
            settle()
        case .pooledOptimiserStep, .outerStep:
            if target == .pooledOptimiserStep { step += 1 }
            if schedule.closesSets { merged(exchange) }
            endRound(key, digest, tokens: exchange?.totalWeight ?? 0)
            settle()
        }
    }

    /// Since each fragment left last.
    private mutating func countTokens(_ tokens: UInt64, _ experts: [Float]) {
        // Sums of weights that peers have said.
        for index in fragments.indices {
            fragments[index].tokens = saturatingSum(fragments[index].tokens, tokens)
        }
        guard let plan, !plan.plan.experts.isEmpty, !experts.isEmpty else { return }
        guard experts.count == plan.expertCount else {
            effects.append(
                .violation("shares of \(experts.count) experts; the plan has \(plan.expertCount)"))
            return
        }
        if expertTokens.isEmpty { expertTokens = Array(repeating: 0, count: experts.count) }
        let counts = TrainedTokens.ofStep(experts, tokens: tokens)
        for (index, count) in counts.enumerated() {
            expertTokens[index] = saturatingSum(expertTokens[index], count)
        }
        noteExpertLoads(counts)
    }

    /// Keeps the finished exchange for peers that lack positions; lets go of the one before.
    private mutating func retire(_ exchange: Exchange?) {
        guard let exchange else { return }
        effects.append(.abandonShard(exchange.key))
        if let parts = exchange.parts { effects.append(.abandonShard(parts.key)) }
        switch exchange.key.scope {
        case .region:
            inner = nil
            finishedInner.map { effects += $0.handles.map(Effect.release) }
            finishedInner = exchange
        case .pool:
            flights.removeAll { $0.key == exchange.key }
            let same = finishedOuter.firstIndex { $0.key.fragment == exchange.key.fragment }
            if let same {
                effects += finishedOuter[same].handles.map(Effect.release)
                finishedOuter[same] = exchange
            } else {
                finishedOuter.append(exchange)
            }
        }
    }
}
