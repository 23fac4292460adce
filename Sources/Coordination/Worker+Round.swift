import ClusterModel
import WireProtocol

// MARK: - Round, shard and trainer

extension Worker {
    /// Hands an event to the round and carries out what it wants.
    mutating func drive(_ event: WorkerRound.Event, _ now: Instant) {
        for effect in round.handle(event, at: now) { apply(effect, now) }
    }

    private mutating func apply(_ effect: WorkerRound.Effect, _ now: Instant) {
        switch effect {
        case .train(let order):
            guard case .member = phase else { return }
            effects.append(.train(order))
        case .contribute(
            let to, let key, let slice, let position, let group, let payload, let weight,
            let mayLeave):
            contribute(to, key, slice, position, group, payload, weight, mayLeave, now)
        case .forward(let to, let mean):
            ledger.retain(mean.payload.handle)
            sendMean(mean, to: to)
        case .pull(let from, let key, let slice, let position):
            guard let peer = peer(from) else { return }
            let pull = Pull(
                key: key, kind: .mean, slice: UInt16(slice), position: UInt32(position))
            send(to: peer, .pull(pull), payload: nil, bytes: 0)
        case .openShard(let key): openShard(key, now)
        case .closeShard(let key, let counted):
            applyShard(shards.handle(.close(key: key, counted: counted)), now)
        case .offer(let offer):
            offerSentAt = now
            effects.append(.control(.offer(offer)))
        case .abandonShard(let key): applyShard(shards.abandon(key), now)
        case .abandonShards: applyShard(shards.abandonAll(), now)
        case .release(let handle): release(handle)
        case .report(var report):
            meter.fill(&report, samples: samples)
            pendingReports.removeAll { $0.report.key.fragment == report.key.fragment }
            pendingReports.append((report, now))
            effects.append(.control(.report(report)))
        case .event(let event): effects.append(.event(event))
        case .trained: break
        case .violation(let what):
            effects.append(.event(.violation(culprit: name, what: what)))
        }
    }

    private mutating func openShard(_ key: CollectiveKey, _ now: Instant) {
        guard let plan = round.plan else { return }
        let opened = shards.open(
            key, geometry: round.openGeometry(of: key, plan), rank: plan.rank,
            awaitsClose: key.scope == .pool && round.schedule.closesSets)
        applyShard(opened, now)
    }

    private mutating func contribute(
        _ to: Rank, _ key: CollectiveKey, _ slice: Int, _ position: Int, _ group: Int,
        _ payload: EncodedPayload, _ weight: UInt64, _ mayLeave: Bool, _ now: Instant
    ) {
        guard let plan = round.plan else { return release(payload.handle) }
        if to == plan.rank {
            let part = ShardReduction.Contribution(
                key: key, slice: slice, position: position, group: group, handle: payload.handle,
                weight: weight, mayLeave: mayLeave)
            applyShard(shards.handle(.contribution(part)), now)
        } else if let peer = peer(to) {
            let chunk = Chunk(
                key: key, kind: .contribution, transform: payload.transform,
                stage: payload.stage, slice: UInt16(slice), group: UInt16(group),
                position: UInt32(position), elements: payload.elements, weight: weight,
                origin: plan.rank, flags: mayLeave ? .mayLeave : [])
            send(to: peer, .chunk(chunk), payload: payload.handle, bytes: payload.bytes)
        } else {
            release(payload.handle)
        }
    }

    /// A contribution from the wire; the shard is opened by whichever comes first, this or the own step.
    mutating func contribution(
        _ chunk: Chunk, _ payload: EncodedPayload, from peer: WorkerID, _ now: Instant
    ) {
        guard let plan = round.plan, round.accepts(chunk.key) else {
            release(payload.handle)
            return blame(peer, "contributes to \(chunk.key), which is not due here")
        }
        let geometry = plan.geometry(of: chunk.key)
        let slice = Int(chunk.slice)
        guard slice < geometry.sliceCount, geometry.owner(ofSlice: slice) == plan.rank,
            Int(chunk.position) < geometry.positionCount(ofSlice: slice),
            UInt64(chunk.elements)
                == geometry.range(ofSlice: slice, position: Int(chunk.position)).count,
            Int(chunk.group) < geometry.groups.count,
            let sender = plan.member(peer)?.rank,
            plan.mayContribute(
                sender, group: Int(chunk.group), slice: slice, position: Int(chunk.position),
                to: chunk.key, geometry),
            chunk.transform
                == plan.contributionTransform(of: chunk.key, from: sender, to: plan.rank)
        else {
            release(payload.handle)
            return blame(peer, "contribution does not fit the plan: \(chunk)")
        }
        openShard(chunk.key, now)
        let part = ShardReduction.Contribution(
            key: chunk.key, slice: slice, position: Int(chunk.position), group: Int(chunk.group),
            handle: payload.handle, weight: chunk.weight,
            mayLeave: chunk.flags.contains(.mayLeave))
        applyShard(shards.handle(.contribution(part)), now)
        drive(.arrival(key: chunk.key), now)
    }

    mutating func applyShard(_ shardEffects: [ShardReduction.Effect], _ now: Instant) {
        for effect in shardEffects {
            switch effect {
            case .reduce(let key, let epoch, let slice, let position, let sources):
                guard let plan = round.plan else { continue }
                let range = plan.geometry(of: key).range(ofSlice: slice, position: position)
                let contributed = plan.round(ofParts: key)
                let transform =
                    contributed.map {
                        plan.contributionTransform(
                            of: $0, from: plan.rank,
                            to: plan.geometry(of: $0).owner(ofSlice: slice))
                    } ?? plan.meanTransform(of: key)
                effects.append(
                    .reduce(
                        key: key, epoch: epoch, slice: slice, position: position,
                        sources: sources, transform: transform, elements: range.count,
                        contributes: contributed))
            case .mean, .violation: shardAnswered(effect, now)
            case .release(let handle): release(handle)
            }
        }
    }

    private mutating func shardAnswered(_ effect: ShardReduction.Effect, _ now: Instant) {
        switch effect {
        case .mean(let key, let slice, let position, let handle, let weight, let mayLeave):
            guard let payload = reducedPayloads.removeValue(forKey: handle) else { return }
            let mean = WorkerRound.Mean(
                key: key, slice: slice, position: position, payload: payload,
                weight: weight, mayLeave: mayLeave)
            if key.scope == .region, round.plan?.reducesParts == true {
                partsReduced(mean, now)
            } else {
                drive(.mean(mean), now)
            }
        case .violation(let key, let group, let what):
            effects.append(
                .event(
                    .violation(
                        culprit: contributors(group, of: key),
                        what: "\(what) (\(round.describe(key)))")))
        case .reduce, .release: break
        }
    }

    /// The names of a group: a member where each has a part, else those of a region or one replica.
    private func contributors(_ group: Int, of key: CollectiveKey) -> String {
        guard let plan = round.plan, plan.geometry(of: key).groups.indices.contains(group) else {
            return "group \(group)"
        }
        return plan.geometry(of: key).groups[group].map { plan.plan.members[$0.index].name }
            .joined(separator: ", ")
    }

    /// What this worker's region contributes to a chunk of the pool's round, or, alone, its mean.
    private mutating func partsReduced(_ parts: WorkerRound.Mean, _ now: Instant) {
        guard let plan = round.plan, let exchange = round.roundUnderWay(ofParts: parts.key) else {
            return release(parts.payload.handle)
        }
        guard let key = plan.round(ofParts: parts.key) else {
            var mean = parts
            mean.key = exchange.key
            return drive(.mean(mean), now)
        }
        contribute(
            exchange.geometry.owner(ofSlice: parts.slice), key, parts.slice, parts.position,
            exchange.geometry.group(of: plan.rank) ?? 0, parts.payload, parts.weight,
            parts.mayLeave, now)
    }

    mutating func reduced(
        _ key: CollectiveKey, _ epoch: Epoch, _ slice: Int, _ position: Int,
        _ mean: EncodedPayload, _ now: Instant
    ) {
        ledger.adopt(mean.handle)
        reducedPayloads[mean.handle] = mean
        let answers = shards.handle(
            .reduced(
                key: key, epoch: epoch, slice: slice, position: position, mean: mean.handle))
        applyShard(answers, now)
        reducedPayloads[mean.handle] = nil
    }

    private mutating func sendMean(_ mean: WorkerRound.Mean, to rank: Rank) {
        guard let peer = peer(rank), let plan = round.plan else {
            return release(mean.payload.handle)
        }
        let chunk = Chunk(
            key: mean.key, kind: .mean, transform: mean.payload.transform,
            stage: mean.payload.stage, slice: UInt16(mean.slice), group: 0,
            position: UInt32(mean.position), elements: mean.payload.elements,
            weight: mean.weight, origin: plan.rank, flags: mean.mayLeave ? .mayLeave : [])
        send(
            to: peer, .chunk(chunk), payload: mean.payload.handle, bytes: mean.payload.bytes)
    }

    mutating func serve(_ pull: Pull, to peer: WorkerID) {
        guard let rank = round.plan?.member(peer)?.rank,
            let mean = round.heldMean(
                key: pull.key, slice: Int(pull.slice), position: Int(pull.position))
        else { return blame(peer, "pulls a position that is not held here: \(pull)") }
        ledger.retain(mean.payload.handle)
        sendMean(mean, to: rank)
    }

    // MARK: Trainer

    mutating func trainer(_ event: TrainerEvent, _ now: Instant) {
        switch event {
        case .computed(let step, let loss, let tokens, let samples, let elapsed):
            self.samples = samples
            meter.computed(elapsed)
            drive(.computed(step: step, loss: loss, tokens: tokens), now)
        case .encoded(let key, let epoch, let slice, let position, let payload):
            ledger.adopt(payload.handle)
            drive(
                .encoded(
                    key: key, epoch: epoch, slice: slice, position: position, payload: payload),
                now)
        case .absorbed(let key, let target, let digest, let experts):
            drive(
                .absorbed(key: key, target: target, digest: digest, experts: experts), now)
            adoptAnnounced(now)
            saveIfPossible(isWritten: true)
        case .evaluated(let step, let loss, let samples):
            effects.append(
                .event(.evaluated(worker: worker, step: step, loss: loss, samples: samples)))
        case .checkpointed(let path, let step, let bytes):
            effects.append(
                .event(.checkpointWritten(worker: worker, path: path, step: step, bytes: bytes)))
        case .checkpointFailed(let path, let reason):
            effects.append(
                .event(.checkpointFailed(worker: worker, path: path, reason: reason)))
        case .saved:
            if case .leaving(let code, let reason) = phase { part(code, reason, now) }
        case .saveFailed(let reason):
            if case .leaving(let code, _) = phase {
                part(code == .ok ? .tryAgain : code, reason, now)
            }
        case .stateRead(let peer, let chunk, let payload): sendState(chunk, payload, to: peer)
        case .consumed(let handle): release(handle)
        case .interrupted(let step): drive(.interrupted(step: step), now)
        case .placed(let holders, let epoch):
            drive(.placed(holders: holders, epoch: epoch), now)
        case .tokensRefused(let peer, let epoch, let what): refuseTokens(of: peer, epoch, what)
        case .routed(let step, let wanted): round.noteWanted(wanted, step: step)
        case .tokensOverdue(let peers, let epoch): sayOverdue(peers, epoch)
        case .tookOver(let handover): tookOver(handover, now)
        }
    }
}
