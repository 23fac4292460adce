import ClusterModel
import Coordination
import DequeModule
import WireProtocol

// MARK: - Trainers of a host

extension Simulator {
    /// Lets a hosted trainer start on the order at the head of its queue.
    func beginHosted(_ order: TrainerOrder, _ seat: Int) {
        guard let hosted = workers[seat].hosted else { return }
        let handles: [PayloadHandle] =
            switch order {
            case .absorb(let absorption): absorption.means.map(\.payload.handle)
            case .installState(_, let payload): [payload]
            case .compute, .encode, .evaluate, .checkpoint, .save, .readState, .takeOver: []
            }
        var plan: ActivePlan?
        if case .compute = order { plan = workers[seat].computePlan }
        hosted.begin(
            order, plan: plan,
            payloads: handles.map { handle in
                guard case .encoded(let bytes) = workers[seat].pool.content(handle) else {
                    preconditionFailure("\(workers[seat].name) uses a released payload")
                }
                return bytes
            })
    }

    /// The answers to the order that has ended; nil without a host.
    func finishHosted(_ seat: Int) -> [Worker.TrainerEvent]? {
        guard let hosted = workers[seat].hosted else { return nil }
        return hosted.finish().compactMap { take($0, seat) }
    }

    /// The next chunk of a hosted `encode`; nil when it could not be made. All are made with the first.
    func nextHostedChunk(_ seat: Int) -> Worker.TrainerEvent? {
        guard let hosted = workers[seat].hosted else { return nil }
        if workers[seat].encodedChunks == 1 {
            workers[seat].hostedChunks.append(contentsOf: hosted.finish())
        }
        while let answer = workers[seat].hostedChunks.popFirst() {
            if let event = take(answer, seat) { return event }
        }
        return nil
    }

    func take(_ answer: HostedAnswer, _ seat: Int) -> Worker.TrainerEvent? {
        switch answer {
        case .event(.computed(let step, let loss, let tokens, let samples, _)):
            // The host's clock is not the run's.
            return .computed(
                step: step, loss: loss, tokens: tokens, samples: samples,
                elapsed: computedTime(seat))
        case .event(let event): return event
        case .encoded(let key, let epoch, let slice, let position, let elements, let bytes):
            return .encoded(
                key: key, epoch: epoch, slice: slice, position: position,
                payload: store(bytes, elements, seat))
        case .stateRead(let peer, let chunk, let bytes):
            return .stateRead(to: peer, chunk: chunk, payload: store(bytes, chunk.count, seat))
        case .tokens(let peer, let epoch, let tokens, let bytes):
            let content = bytes.map { PayloadPool.Content.encoded($0) }
            sendTokens(TokenParcel(peer: peer, tokens: tokens, content: content), epoch, seat)
        case .report(let event): say(event, seat)
        case .failed(let reason):
            say(.violation(culprit: workers[seat].name, what: reason), seat)
            tell(seat, .leave(code: .data, reason: reason))
        }
        return nil
    }

    func say(_ event: RunEvent, _ seat: Int) {
        record(event, from: workers[seat].name)
        sendEvent(seat, event)
    }

    private func store(_ bytes: EncodedBytes, _ elements: UInt32, _ seat: Int) -> EncodedPayload {
        EncodedPayload(
            handle: workers[seat].pool.store(.encoded(bytes)), bytes: bytes.bytes.count,
            elements: elements, transform: bytes.transform, stage: bytes.stage)
    }
}
