import ClusterModel
import WireProtocol

/// A joiner's progress in taking over a peer's state, item by item, piece by piece.
struct StateTransfer: Equatable, Sendable {
    let source: WorkerID
    /// Elements of one piece: a chunk.
    static let pieceElements: UInt64 = UInt64(CollectiveGeometry.chunkElements)
    /// Pieces asked for ahead of the one awaited: keeps a 30 ms link busy within the lane's credit.
    static let ahead = 8
    /// Items in the order in which they are fetched.
    static let items: [StateItem] = [
        .parameters, .outerCopy, .outerMomentum, .firstMoment, .secondMoment,
    ]
    var step: UInt32 = 0
    var round: UInt32 = 0
    /// Remaining requests, in order; empty before the index has come.
    var requests: [StateRequest] = []
    var nextRequest = 0
    var received = 0

    var isComplete: Bool { !requests.isEmpty && received == requests.count }

    mutating func plan(total: UInt64) {
        for item in Self.items {
            var start: UInt64 = 0
            while start < total {
                let count = min(Self.pieceElements, total - start)
                requests.append(StateRequest(item: item, start: start, count: UInt32(count)))
                start += count
            }
        }
    }
}

// MARK: - State transfer

extension Worker {
    /// Whether the plan in force expects this worker to take over a state first.
    var needsState: Bool {
        round.plan?.me.state == .needsState && installedVersion != round.plan?.plan.planVersion
    }

    /// Asks the source for its index; called when the lanes are open.
    mutating func fetchStateIfNeeded() {
        guard needsState, transfer == nil, let plan = round.plan,
            let source = peer(plan.me.stateSource), unlinkedPeers.isEmpty
        else { return }
        transfer = StateTransfer(source: source)
        send(
            to: source, .stateRequest(StateRequest(item: .index, start: 0, count: 0)), payload: nil,
            bytes: 0)
    }

    /// The source's side: it stands at a boundary, so its state does not move.
    mutating func serveState(_ request: StateRequest, to peer: WorkerID) {
        guard round.isFrozen else {
            return blame(peer, "asks for state outside a reconfiguration")
        }
        effects.append(.train(.readState(request, to: peer)))
    }

    mutating func sendState(_ chunk: StateChunk, _ payload: EncodedPayload, to peer: WorkerID) {
        ledger.adopt(payload.handle)
        send(to: peer, .stateChunk(chunk), payload: payload.handle, bytes: payload.bytes)
    }

    mutating func takeState(
        _ chunk: StateChunk, _ payload: PayloadHandle?, from peer: WorkerID, _ now: Instant
    ) {
        guard transfer?.source == peer, needsState else {
            payload.map { release($0) }
            return blame(peer, "sends state nobody asked for")
        }
        if chunk.item == .index {
            payload.map { release($0) }
            transfer?.step = UInt32(clamping: chunk.step)
            transfer?.round = chunk.round
            transfer?.plan(total: chunk.total)
            for _ in 0..<StateTransfer.ahead { requestNextPiece() }
            return
        }
        guard let payload else { return }
        transfer?.received += 1
        requestNextPiece()
        hasPartialState = true
        effects.append(
            .train(
                .installState(chunk, payload: payload, last: transfer?.isComplete ?? false)))
    }

    private mutating func requestNextPiece() {
        guard let transfer, transfer.nextRequest < transfer.requests.count else { return }
        self.transfer?.nextRequest += 1
        send(
            to: transfer.source, .stateRequest(transfer.requests[transfer.nextRequest]),
            payload: nil, bytes: 0)
    }

    mutating func stateInstalled(
        _ step: UInt32, _ round: UInt32, _ digest: UInt64, _ now: Instant
    ) {
        // The plan may have changed meanwhile: that state is not the one it asks for.
        guard transfer?.isComplete == true else { return }
        installedVersion = self.round.plan?.plan.planVersion
        hasPartialState = false
        transfer = nil
        drive(.stateInstalled(step: step, round: round), now)
        effects.append(
            .event(
                .note(
                    source: name,
                    text: "took over the state of step \(step), round \(round) from a peer")))
        sayReadyIfLinked()
    }
}
