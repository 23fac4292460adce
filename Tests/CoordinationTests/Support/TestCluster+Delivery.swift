import ClusterModel
import Coordination
import Testing
import WireProtocol

// MARK: - Moving things

extension TestCluster {
    /// Delivers until nothing is left but what is held.
    mutating func settle() {
        for _ in 0..<1_000_000 {
            var blocked: Set<Channel> = []
            let next = queue.firstIndex { delivery in
                if blocked.contains(delivery.channel) { return false }
                let isStopped = delivery.channel.receiver.map(stopped.contains) ?? false
                if !isStopped, !holds(delivery) { return true }
                blocked.insert(delivery.channel)
                return false
            }
            guard let next else { return }
            deliver(queue.remove(at: next))
        }
        Issue.record("does not come to rest")
    }

    /// Lets time pass to `seconds`, timer by timer.
    mutating func advance(to seconds: Double) {
        let end = Instant.at(seconds)
        while true {
            var due: [Instant] = coordinatorIsDown ? [] : [coordinator.nextDeadline ?? end]
            let running = nodes.keys.sorted().filter { !stopped.contains($0) }
            due += running.compactMap { nodes[$0]!.machine.nextDeadline }
            guard let next = due.min(), next < end else { break }
            now = max(now, next)
            if !coordinatorIsDown { apply(coordinator.handle(.tick, at: now)) }
            for worker in running { give(.tick, to: worker) }
            settle()
        }
        now = end
    }

    private mutating func deliver(_ delivery: Delivery) {
        switch (delivery.channel, delivery.content) {
        case (.toCoordinator(let worker), .control(let message, let epoch)):
            guard let node = nodes[worker] else { return }
            apply(
                coordinator.handle(
                    .message(
                        from: connection(of: worker, node.incarnation), name: node.name,
                        incarnation: node.incarnation, message, epoch: epoch), at: now))
        case (.toWorker(let worker), .control(let message, let epoch)):
            give(.control(message, epoch: epoch), to: worker)
        case (.lane(let from, let to, let role, let index), .transportUp):
            give(.laneConnected(LaneID(peer: from, role: role, index: index)), to: to)
        case (.lane(let from, let to, let role, let index), .frame(var frame, let contents)):
            guard nodes[to] != nil else { return }
            if let contents {
                frame.payload = store(contents, bytes: frame.payloadBytes, at: to)
            }
            give(.lane(LaneID(peer: from, role: role, index: index), frame), to: to)
        case (.trainer(let worker), .order(let order)):
            for event in carryOut(order, at: worker) { give(.trainer(event), to: worker) }
        case (
            .reducer(let worker),
            .reduction(
                let key, let epoch, let slice, let position, let transform, let elements, let mean)
        ):
            let bytes = transform == .fp32 ? 4 * elements : elements
            let payload = EncodedPayload(
                handle: store(mean, bytes: bytes, at: worker), bytes: bytes,
                elements: UInt32(elements), transform: transform, stage: .stored)
            give(
                .reduced(key: key, epoch: epoch, slice: slice, position: position, mean: payload),
                to: worker)
        case (.toCoordinator, _), (.toWorker, _), (.lane, _), (.trainer, _), (.reducer, _):
            Issue.record("\(delivery.content) on \(delivery.channel)")
        }
    }

    mutating func give(_ event: Worker.Event, to worker: WorkerID) {
        guard nodes[worker] != nil else { return }
        let effects = nodes[worker]!.machine.handle(event, at: now)
        for effect in effects { apply(effect, of: worker) }
        guard let round = nodes[worker]?.machine.round.round, !coordinatorIsDown else { return }
        // Nobody has two uncommitted rounds, whoever dies and whatever is late.
        #expect(round <= committedRound + 1 || nodes[worker]!.trainer.round == round)
    }

    // MARK: Effects

    mutating func apply(_ effects: [Coordinator.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let connection, let message, let epoch):
                let worker = WorkerID(Int(connection.rawValue / 1_000))
                guard let node = nodes[worker],
                    self.connection(of: worker, node.incarnation) == connection
                else { continue }
                sent.append((worker, message))
                queue.append(
                    Delivery(channel: .toWorker(worker), content: .control(message, epoch)))
            case .event(let event): events.append(event)
            case .finished(let code, _): coordinatorResult = code
            }
        }
    }

    private mutating func apply(_ effect: Worker.Effect, of worker: WorkerID) {
        switch effect {
        case .control(let message):
            guard !coordinatorIsDown else { return }
            queue.append(
                Delivery(
                    channel: .toCoordinator(worker),
                    content: .control(message, nodes[worker]?.machine.round.plan?.epoch ?? .none)))
        case .dial(let member, let lane):
            queue.append(
                Delivery(
                    channel: .lane(
                        from: member.workerID, to: worker, role: .dialler, index: lane),
                    content: .transportUp))
        case .transmit(let lane, let sequence, let epoch, let message, let payload):
            transmit(lane, sequence, epoch, message, payload, from: worker)
        case .train(let order):
            queue.append(Delivery(channel: .trainer(worker), content: .order(order)))
        case .reduce(
            let key, let epoch, let slice, let position, let sources, let transform,
            let elements, _):
            let mean = sources.reduce(UInt64(0)) {
                TrainerModel.mix(
                    $0, TrainerModel.mix(contents($1.handle, at: worker), $1.weight))
            }
            queue.append(
                Delivery(
                    channel: .reducer(worker),
                    content: .reduction(
                        key: key, epoch: epoch, slice: slice, position: position,
                        transform: transform, elements: elements, mean: mean)))
        case .tokens(let peer, _, let tokens, let payload):
            tokensTaken.append((worker, peer, tokens, payload))
        case .release(let handle):
            if nodes[worker]!.pool.removeValue(forKey: handle) == nil {
                Issue.record("\(worker) releases \(handle) twice")
            }
        case .event(let event): nodes[worker]!.events.append(event)
        case .finished(let code, _): nodes[worker]!.finished = code
        case .allow, .hangUp: break
        }
    }

    private mutating func transmit(
        _ lane: LaneID, _ sequence: UInt64, _ epoch: Epoch, _ message: Message,
        _ payload: PayloadHandle?, from worker: WorkerID
    ) {
        guard nodes[lane.peer] != nil else { return }
        let role: LaneSession.Role = lane.role == .dialler ? .acceptor : .dialler
        if lane.role == .dialler {
            let last = sequences[[worker, lane.peer]] ?? 0
            sequences[[worker, lane.peer]] = max(last, sequence)
        }
        let held = payload.map { nodes[worker]!.pool[$0] ?? (0, 0) }
        let frame = Worker.LaneFrame(
            incarnation: nodes[worker]!.incarnation, epoch: epoch, sequence: sequence,
            message: message, payload: nil, payloadBytes: held?.bytes ?? 0)
        queue.append(
            Delivery(
                channel: .lane(from: worker, to: lane.peer, role: role, index: lane.index),
                content: .frame(frame, contents: payload.map { contents($0, at: worker) })))
    }

    // MARK: Trainer

    private mutating func carryOut(
        _ order: TrainerOrder, at worker: WorkerID
    ) -> [Worker.TrainerEvent] {
        guard nodes[worker] != nil else { return [] }
        switch order {
        case .compute(let step, let samples):
            return [nodes[worker]!.trainer.compute(step: step, samples: samples)]
        case .encode(let order):
            if order.keeps { nodes[worker]!.trainer.keep(order.key.fragment) }
            return order.chunks.map { chunk in
                let contents = nodes[worker]!.trainer.encoded(order.source, chunk, of: order.key)
                let bytes = chunk.range.count * (order.transform == .fp32 ? 4 : 1)
                let payload = EncodedPayload(
                    handle: store(contents, bytes: bytes, at: worker), bytes: bytes,
                    elements: UInt32(chunk.range.count), transform: order.transform, stage: .stored)
                return .encoded(
                    key: order.key, epoch: order.epoch, slice: chunk.slice,
                    position: chunk.position, payload: payload)
            }
        case .absorb(let order):
            let means = order.means.map { contents($0.payload.handle, at: worker) }
            return [nodes[worker]!.trainer.absorb(order, contents: means)]
        case .evaluate(let step): return [.evaluated(step: step, loss: 1, samples: 1)]
        case .checkpoint(let step, _):
            return [.checkpointed(path: "state", step: step, bytes: 1)]
        case .save: return [.saved]
        case .readState(let request, let peer):
            let piece = nodes[worker]!.trainer.piece(request)
            let bytes = Int(request.count) * 4
            let payload = EncodedPayload(
                handle: store(piece.contents, bytes: bytes, at: worker), bytes: bytes,
                elements: request.count, transform: .fp32, stage: .stored)
            return [.stateRead(to: peer, chunk: piece.chunk, payload: payload)]
        case .installState(let chunk, let payload):
            nodes[worker]!.trainer.install(chunk, contents: contents(payload, at: worker))
            return [.consumed(payload)]
        case .takeOver(let handover):
            for item in handover.items
            where nodes[worker]!.trainer.digest(of: item.item) != item.digest {
                Issue.record("\(worker) has taken over other \(item.item) than described")
            }
            nodes[worker]!.trainer.stand(at: handover)
            var answer = handover
            answer.hasRest = nodes[worker]!.trainer.live != nodes[worker]!.trainer.outer
            return [.tookOver(answer)]
        }
    }

    // MARK: Pool

    private mutating func store(
        _ contents: UInt64, bytes: Int, at worker: WorkerID
    ) -> PayloadHandle {
        let handle = PayloadHandle(rawValue: nodes[worker]!.nextHandle)
        nodes[worker]!.nextHandle += 1
        nodes[worker]!.pool[handle] = (contents, bytes)
        return handle
    }

    private func contents(_ handle: PayloadHandle, at worker: WorkerID) -> UInt64 {
        guard let held = nodes[worker]?.pool[handle] else {
            Issue.record("\(worker) uses \(handle) after it was released")
            return 0
        }
        return held.contents
    }
}

// MARK: - Reading them

extension TestCluster.Delivery {
    /// Of a frame that is one.
    var chunk: Chunk? {
        guard case .frame(let frame, _) = content, case .chunk(let chunk) = frame.message else {
            return nil
        }
        return chunk
    }

    /// Of a frame on a lane.
    var sender: WorkerID? {
        if case .lane(let from, _, _, _) = channel { from } else { nil }
    }
}

extension [WorkerRound.Effect] {
    /// The first order to encode.
    var encoding: TrainerOrder.Encoding? {
        for case .train(.encode(let order)) in self { return order }
        return nil
    }
}
