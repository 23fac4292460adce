import ClusterModel
import Compression
import Coordination
import Training
import WireProtocol

// MARK: - State for peers, and from them

extension TrainerTask {
    /// Whether what a peer could be told of the state may be another thing afterwards.
    var movesState: Bool {
        switch self {
        case .absorb, .install: true
        case .encode, .compute, .order(.compute), .order(.encode), .order(.evaluate),
            .order(.checkpoint),
            .order(.save), .order(.readState), .order(.takeOver), .order(.absorb),
            .order(.installState):
            false
        }
    }
}

extension TrainerExecutor {
    /// A piece of an item, or, asked for no elements, what the item is.
    func readState(_ request: StateRequest, _ peer: WorkerID) {
        account.enter(.recover)
        let vector = StateVector(request.item).flatMap {
            trainer.stateVectors.contains($0) ? $0 : nil
        }
        let isHere = vector != nil || request.item == .index
        var chunk = StateChunk(
            item: request.item, start: request.start, count: 0,
            total: isHere ? UInt64(trainer.parameterCount) : 0, round: round, step: UInt64(step),
            digest: isHere ? digest(of: request.item) : 0)
        let end = min(request.start + UInt64(request.count), chunk.total)
        guard let vector, request.start < end else {
            guard request.count == 0 else {
                return emit(
                    .failed(
                        "a peer asks for elements \(request.start)... of \(request.item), which "
                            + "has \(chunk.total)"))
            }
            return emit(
                .stateRead(
                    to: peer, chunk, PayloadBytes(made: [], transform: .fp32, stage: .stored)))
        }
        chunk.count = UInt32(end - request.start)
        do {
            // A state frame has one form; the last exchange left its own choice in the encoder.
            encoder.choice = .stored
            let buffer = pool.takeForContribution()
            let count = 4 * Int(chunk.count)
            let range = Int(request.start)..<Int(end)
            _ = try trainer.withState(vector, range: range) { values in
                try buffer.withMutablePayload(count) { output in
                    try encoder.encode(values, transform: .fp32, into: &output)
                }
            }
            emit(
                .stateRead(
                    to: peer, chunk,
                    PayloadBytes(pooled: buffer, count: count, transform: .fp32, stage: .stored)))
        } catch {
            emit(.failed("cannot encode state for a peer: \(error)"))
        }
    }

    private func digest(of item: StateItem) -> UInt64 {
        if let known = itemDigests[item] { return known }
        let value: UInt64
        if let vector = StateVector(item) {
            var digest = Digest64()
            trainer.withState(vector, range: 0..<trainer.parameterCount) { digest.update($0) }
            value = digest.value
        } else {
            value = stateDigest()
        }
        itemDigests[item] = value
        return value
    }

    func install(_ chunk: StateChunk, _ bytes: PayloadBytes, _ handle: PayloadHandle) {
        account.enter(.recover)
        defer { emit(.event(.consumed(handle))) }
        let end = chunk.start.addingReportingOverflow(UInt64(chunk.count))
        guard let vector = StateVector(chunk.item), trainer.stateVectors.contains(vector),
            !end.overflow, end.partialValue <= UInt64(trainer.parameterCount)
        else {
            return emit(.failed("a peer sends state that this training has no place for"))
        }
        let range = Int(chunk.start)..<Int(end.partialValue)
        do {
            try trainer.withMutableState(vector, range: range) { target throws(ChunkError) in
                try bytes.withBytes { encoded throws(ChunkError) in
                    try decoder.decode(encoded, transform: .fp32, stage: .stored, into: &target)
                }
            }
        } catch {
            emit(.failed("cannot install state: \(error)"))
        }
    }

    /// All pieces are in place: what they make must be what the source described, item by item.
    func takeOver(_ handover: TrainerOrder.Handover) {
        account.enter(.recover)
        for item in handover.items where digest(of: item.item) != item.digest {
            return emit(
                .failed(
                    "the \(item.item) taken over have digest \(digest(of: item.item)), their source "
                        + "said \(item.digest)"))
        }
        let known = Set(handover.items.map(\.item))
        let wanted = trainer.stateVectors.filter {
            $0 != .parameters || !handover.beginsFromOuterCopy
        }
        guard wanted.allSatisfy({ known.contains($0.item) }) else {
            return emit(
                .failed("the source of the state lacks vectors that this training has: \(known)"))
        }
        trainer.tookOver()
        if handover.beginsFromOuterCopy {
            trainer.beginFromOuterCopy()
            itemDigests = [:]
        }
        step = handover.step
        round = handover.round
        setup.synchroniseCounters(trainer, step: step)
        var answer = handover
        answer.hasRest =
            trainer.keepsOuterCopy
            && digest(of: StateItem.parameters) != digest(of: StateItem.outerCopy)
        emit(.event(.tookOver(answer)))
    }
}

extension StateVector {
    /// Nil for the index.
    init?(_ item: StateItem) {
        switch item {
        case .index: return nil
        case .parameters: self = .parameters
        case .outerCopy: self = .outerCopy
        case .outerMomentum: self = .outerMomentum
        case .firstMoment: self = .firstMoment
        case .secondMoment: self = .secondMoment
        }
    }

    fileprivate var item: StateItem {
        switch self {
        case .parameters: .parameters
        case .outerCopy: .outerCopy
        case .outerMomentum: .outerMomentum
        case .firstMoment: .firstMoment
        case .secondMoment: .secondMoment
        }
    }
}
