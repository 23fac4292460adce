import ClusterModel
import Coordination
import WireProtocol

// MARK: - The coordinator's driver

extension Simulator {
    func startCoordinator() {
        coordinator.state = .running
        record(
            .runStarted(
                RunEvent.RunStarted(
                    run: Self.run, version: "simulated", command: [], configuration: configuration,
                    topology: topology, emulated: true, curve: options.allowList,
                    parameterCount: options.payloads.elements, machine: "virtual clock")),
            from: "coordinator")
        tell(.started)
    }

    /// Hands an event to the coordinator's machine and carries out what it wants. Sends that find no
    /// connection come back as events once the effects are through.
    func tell(_ event: Coordinator.Event) {
        var pending = [event]
        while let next = pending.first, coordinator.state == .running {
            pending.removeFirst()
            let local = coordinator.local(now)
            let effects = coordinator.machine.handle(next, at: local)
            for effect in effects {
                switch effect {
                case .send(let connection, let message, let epoch):
                    if case .commit(let commit) = message { checker.said(commit) }
                    if !send(message, epoch, to: connection) {
                        pending.append(.unreachable(connection))
                    }
                case .event(let event):
                    if case .epochStarted(_, let members, let reason) = event, reason == "start" {
                        checker.beganAgain(from: heldStates(members))
                    }
                    checker.coordinatorSaid(event, now)
                    record(event, from: "coordinator")
                case .finished(let code, let reason):
                    coordinator.state = .ended(code)
                    outcome = (code, reason)
                    checker.runEnded(code, reason, now)
                    for index in connections.indices
                    where connections[index].acceptor == .coordinator {
                        breakLater(index, from: .coordinator)
                    }
                }
            }
        }
        setCoordinatorTimer()
    }

    /// What the members of a beginning run hold, saved or taken over.
    private func heldStates(_ members: [WorkerID]) -> [TrainerState] {
        members.compactMap { workers[Int($0.rawValue)].trainer?.state }
    }

    func setCoordinatorTimer() {
        guard coordinator.state == .running, let due = coordinator.machine.nextDeadline else {
            return
        }
        let at = max(now, due.nanoseconds - coordinator.clockOffset)
        guard coordinator.tickAt != at else { return }
        coordinator.tickAt = at
        coordinator.tickVersion += 1
        queue.schedule(.tick(.coordinator, version: coordinator.tickVersion), at: at)
    }

    /// False if the transport knows no such peer any more.
    private func send(_ message: Message, _ epoch: Epoch, to id: ConnectionID) -> Bool {
        guard let index = coordinator.connections[id], connections[index].isUp,
            connections[index].acceptedAs == id
        else {
            coordinator.connections[id] = nil
            return false
        }
        coordinator.sequence += 1
        let header = FrameHeader(
            run: Self.run, incarnation: Incarnation(rawValue: 1), epoch: epoch, rank: .none,
            sequence: coordinator.sequence)
        put(frame(header, message, nil), on: index, direction: 1)
        return true
    }

    // MARK: The other end

    func dialCoordinator(_ seat: Int) {
        workers[seat].control = connections.count
        connections.append(
            Connection(
                purpose: .control, dialler: seat, diallerLife: workers[seat].life,
                acceptor: .coordinator, acceptorLife: 1))
        queue.schedule(
            .connect(connection: connections.count - 1, generation: 0),
            at: now + handshakeTime(connections.count - 1))
    }

    func sendControl(_ seat: Int, _ message: Message) {
        guard let control = workers[seat].control else { return }
        workers[seat].controlSequence += 1
        let plan = workers[seat].machine?.round.plan
        let header = FrameHeader(
            run: Self.run, incarnation: Incarnation(rawValue: workers[seat].life),
            epoch: plan?.epoch ?? .none, rank: plan?.rank ?? .none,
            sequence: workers[seat].controlSequence)
        let frame = frame(header, message, nil)
        if connections[control].isUp {
            put(frame, on: control, direction: 0)
        } else if connections[control].outbox.count < Connection.outboxLimit {
            connections[control].outbox.append(frame)
        }
    }
}
