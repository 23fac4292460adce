import ClusterModel
import Coordination
import WireProtocol
import ZeroMQ

// MARK: - Reporting

extension WorkerNode {
    func report(_ event: RunEvent) throws {
        if let line = WorkerFigures.line(for: event) { log(line) }
        guard !controlIsDown else {
            if backlog.count >= CoordinationLimits.eventBacklog { backlog.removeFirst() }
            backlog.append(event)
            return
        }
        try control.send(
            .event(EventMessage()), epoch: .none, rank: .none, payload: EventCoding.encode(event))
    }

    func flushBacklog() throws {
        let waiting = backlog
        backlog = []
        for event in waiting { try report(event) }
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
