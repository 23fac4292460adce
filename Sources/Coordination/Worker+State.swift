import ClusterModel
import WireProtocol

// MARK: - State transfer

extension Worker {
    /// Whether the plan in force expects this worker to take over a state first.
    var needsState: Bool {
        round.plan?.me.state == .needsState && installedVersion != round.plan?.plan.planVersion
    }

    /// Members that may hold what this worker needs, the plan's `stateSource` first: those of its own
    /// region that are ready under the plan, or all if there is none.
    private func stateSources(_ plan: ActivePlan) -> [StateTransfer.Source] {
        guard let reference = peer(plan.me.stateSource), reference != worker else { return [] }
        let ready = plan.plan.members.filter { $0.workerID != worker && $0.state == .ready }
        let near = ready.filter { $0.region == round.region }
        let others = (near.isEmpty ? ready : near).map(\.workerID).filter { $0 != reference }
        return ([reference] + others).map { source in
            let member = plan.member(source)
            return StateTransfer.Source(
                source,
                ahead: member?.region == round.region
                    ? CoordinationLimits.nearStatePiecesAhead
                    : CoordinationLimits.statePiecesAhead(laneWindow(member)))
        }
    }

    /// A plan has come into force: begins to take over a state, or goes on with what is in place.
    mutating func beginTransfer() {
        guard needsState, let plan = round.plan else { return }
        let sources = stateSources(plan)
        guard let reference = sources.first?.worker else { return }
        // Where gradients are shared, all replicas have the same parameters.
        let isOwnReplica =
            !round.schedule.sharesGradients && !plan.replica.contains(plan.me.stateSource)
        if transfer != nil {
            transfer?.restart(
                reference: reference, sources: sources, beginsFromOuterCopy: isOwnReplica)
        } else {
            transfer = StateTransfer(
                reference: reference, sources: sources, beginsFromOuterCopy: isOwnReplica)
        }
        askSources()
    }

    /// Asks every source whose lane is open what it holds; called when one has opened.
    mutating func askSources() {
        guard needsState, let transfer else { return }
        for source in transfer.sources where !source.isAsked && isLinked(to: source.worker) {
            for request in self.transfer?.greet(source.worker) ?? [] {
                send(to: source.worker, .stateRequest(request), payload: nil, bytes: 0)
            }
        }
    }

    /// The source's side: it stands at a boundary, so its state does not move.
    mutating func serveState(_ request: StateRequest, to peer: WorkerID) {
        guard round.isFrozen else {
            return blame(peer, "asks for state outside a reconfiguration")
        }
        let whole = round.plan?.plan.fragments.reduce(0) { $0 + $1.elements } ?? 0
        guard request.count <= UInt32(StateTransfer.pieceElements), request.start <= whole,
            UInt64(request.count) <= whole - request.start
        else { return blame(peer, "asks for state that does not exist: \(request)") }
        stateReads.append(round.plan?.epoch ?? .none)
        effects.append(.train(.readState(request, to: peer)))
    }

    mutating func sendState(_ chunk: StateChunk, _ payload: EncodedPayload, to peer: WorkerID) {
        ledger.adopt(payload.handle)
        guard !stateReads.isEmpty, stateReads.removeFirst() == round.plan?.epoch else {
            return release(payload.handle)
        }
        send(to: peer, .stateChunk(chunk), payload: payload.handle, bytes: payload.bytes)
    }

    mutating func takeState(
        _ chunk: StateChunk, _ payload: PayloadHandle?, from peer: WorkerID, _ now: Instant
    ) {
        guard needsState, transfer != nil else {
            payload.map { release($0) }
            // A slow holder's description may come when all is here already.
            return chunk.count == 0 ? () : blame(peer, "sends state nobody asked for")
        }
        if chunk.count == 0 {
            payload.map { release($0) }
            let whole = round.plan?.plan.fragments.reduce(0) { $0 + $1.elements } ?? 0
            guard chunk.total == 0 || chunk.total == whole else {
                return blame(
                    peer, "describes \(chunk.total) elements of a model of \(whole)")
            }
            if transfer?.describe(chunk, by: peer, at: now) == false {
                return blame(peer, "describes state nobody asked for")
            }
        } else if let payload, transfer?.take(chunk, from: peer) == true {
            hasPartialState = true
            effects.append(.train(.installState(chunk, payload: payload)))
        } else {
            payload.map { release($0) }
            return blame(peer, "sends a piece of state that is not the one asked for: \(chunk)")
        }
        for (source, request) in transfer?.requests() ?? [] {
            send(to: source, .stateRequest(request), payload: nil, bytes: 0)
        }
        handOverIfComplete()
    }

    /// All pieces are in place, or on their way to the trainer in this order: it checks them.
    private mutating func handOverIfComplete() {
        guard let transfer, transfer.isComplete, !transfer.isHandedOver,
            let version = round.plan?.plan.planVersion,
            let handover = transfer.handover(planVersion: version)
        else { return }
        self.transfer?.isHandedOver = true
        effects.append(.train(.takeOver(handover)))
    }

    mutating func tookOver(_ handover: TrainerOrder.Handover, _ now: Instant) {
        // The plan may have changed meanwhile: that state is not the one it asks for.
        guard let transfer, transfer.isHandedOver, needsState,
            handover.planVersion == round.plan?.plan.planVersion
        else { return }
        installedVersion = handover.planVersion
        hasPartialState = false
        let isStart = !hasStarted && handover.hasRest == true
        drive(
            .stateInstalled(step: handover.step, round: handover.round, hasRest: isStart), now)
        effects.append(
            .event(
                .stateTaken(
                    RunEvent.StateTaken(
                        worker: worker, step: handover.step, round: handover.round,
                        took: now - (transfer.began ?? now), resumedBytes: transfer.resumedBytes,
                        sources: transfer.account.map {
                            RunEvent.StateTaken.Source(worker: $0.worker, bytes: $0.bytes)
                        }))))
        sayReadyIfLinked()
    }
}
