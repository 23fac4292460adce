import ClusterModel
import Coordination
import WireProtocol
import ZeroMQ

// MARK: - Reporting

extension WorkerNode {
    /// Goes out before the next frame to the coordinator, and at the end of the loop's turn: making its text
    /// takes as long as a small chunk's whole way, and chunks go first.
    func report(_ event: RunEvent) throws {
        if let line = WorkerFigures.line(for: event) { log(line) }
        if backlog.count >= CoordinationLimits.eventBacklog { try sendEvents() }
        if backlog.count >= CoordinationLimits.eventBacklog { backlog.removeFirst() }
        backlog.append(timed(event))
    }

    /// On a full link an event is heard of late: what the figures need the time of says it.
    private func timed(_ event: RunEvent) -> RunEvent {
        guard case .stepped(let worker, let step, let loss, let tokens, nil) = event else {
            return event
        }
        return .stepped(
            worker: worker, step: step, loss: loss, tokens: tokens, at: coordinatorClock.time(now))
    }

    /// While the coordinator is away they wait for it.
    func sendEvents() throws {
        guard !controlIsDown, !backlog.isEmpty else { return }
        let waiting = backlog
        backlog = []
        for event in waiting {
            try control.send(
                .event(EventMessage()), epoch: .none, rank: .none,
                payload: EventCoding.encode(event))
        }
    }

    func reportFigures() throws {
        figuresDue = MonotonicClock.now() + NodeLimits.figuresInterval.nanoseconds
        guard let worker = machine?.worker else { return }
        try report(.budget(worker: worker, trainer.account.budget))
        try reportTokenWait()
        for traffic in figures.traffic { try report(.traffic(worker: worker, traffic)) }
        if !figures.relayed.isEmpty { try report(.relayed(worker: worker, figures.relayed)) }
        try report(.peakMemory(process: options.name, bytes: ProcessMemory.peakBytes()))
    }
}
