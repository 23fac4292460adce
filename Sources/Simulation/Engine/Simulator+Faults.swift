import ClusterModel
import Coordination
import WireProtocol

// MARK: - Faults

extension Simulator {
    func begin(_ index: Int) {
        let fault = options.faults[index].fault
        if fault.length > .zero {
            queue.schedule(.faultEnds(index: index), at: now + fault.length.nanoseconds)
        }
        switch fault {
        case .crash(let seat):
            crash(seat)
            supervise(seat)
        case .restart(let seat, let resume):
            crash(seat)
            if !resume { workers[seat].disk = nil }
            queue.schedule(.startWorker(seat: seat), at: now + Self.redial)
        case .pause(let seat, _): pause(seat)
        case .partition, .isolate, .slowLink: overlay(fault, by: 1)
        case .unreachable(let from, let to, _):
            fabric.block(from, to, by: 1)
            for lane in lanes(from, to) { reset(lane) }
        case .resetControl(let seat):
            if let control = workers[seat].control { reset(control) }
        case .resetLane(let from, let to, let number):
            let lanes = lanes(from, to)
            guard !lanes.isEmpty else { return }
            for lane in number.map({ [lanes[$0 % lanes.count]] }) ?? lanes { reset(lane) }
        case .clockJump(let seat, let length): jump(seat, length)
        case .corruptLane(let from, let to, let back):
            if let lane = lanes(from, to).last {
                connections[lane].corruptNext[back ? 1 : 0] = true
            }
        case .corruptControl(let seat, let back):
            if let control = workers[seat].control {
                connections[control].corruptNext[back ? 1 : 0] = true
            }
        case .slowWorker(let seat, let factor, _): workers[seat].slowings.append(factor)
        case .leave(let seat):
            tell(seat, .leave(code: .terminated, reason: "the operator wants it"))
        case .crashCoordinator: crashCoordinator()
        }
    }

    /// Connections of the lanes that `from` dialled to `to`, lane 0 first.
    private func lanes(_ from: Int, _ to: Int) -> [Int] {
        (0..<ProtocolLimits.lanes).compactMap {
            workers[from].dialled[LaneID(peer: WorkerID(to), role: .dialler, index: $0)]
        }
    }

    func end(_ index: Int) {
        let fault = options.faults[index].fault
        switch fault {
        case .pause(let seat, _):
            resume(seat.map { .worker($0) } ?? .coordinator)
        case .partition, .isolate, .slowLink:
            overlay(fault, by: -1)
            releaseHeld()
        case .unreachable(let from, let to, _): fabric.block(from, to, by: -1)
        case .slowWorker(let seat, let factor, _):
            if let index = workers[seat].slowings.firstIndex(of: factor) {
                workers[seat].slowings.remove(at: index)
            }
        case .crash, .restart, .resetControl, .resetLane, .clockJump, .corruptLane,
            .corruptControl, .leave, .crashCoordinator:
            break
        }
    }

    private func overlay(_ fault: Fault, by change: Int) {
        switch fault {
        case .partition(let from, let to, let symmetric, _):
            fabric.cut(RegionID(from), RegionID(to), by: change)
            if symmetric { fabric.cut(RegionID(to), RegionID(from), by: change) }
        case .isolate(let seat, let outwards, let inwards, _):
            if outwards { fabric.cut(.worker(seat), outwards: true, by: change) }
            if inwards { fabric.cut(.worker(seat), outwards: false, by: change) }
        case .slowLink(let from, let to, _):
            fabric.slowDown(RegionID(from), RegionID(to), by: change)
        case .crash, .restart, .pause, .unreachable, .resetControl, .resetLane, .clockJump,
            .corruptLane, .corruptControl, .slowWorker, .leave, .crashCoordinator:
            break
        }
    }

    private func crash(_ seat: Int) {
        guard workers[seat].isRunning else { return }
        workers[seat].state = .crashed
        workers[seat].isPaused = false
        workers[seat].deferred = []
        // Rows that it waits for do not come any more.
        workers[seat].hosted?.interrupt()
        abandonConnections(of: seat)
        checker.workerCrashed(seat)
    }

    private func crashCoordinator() {
        guard coordinator.state == .running else { return }
        coordinator.state = .crashed
        checker.coordinatorCrashed()
        for index in connections.indices
        where connections[index].acceptor == .coordinator && connections[index].isUp {
            breakLater(index, from: .coordinator)
        }
    }

    private func jump(_ seat: Int?, _ length: Interval) {
        if let seat {
            workers[seat].clockOffset += length.nanoseconds
            setTimer(seat)
        } else {
            coordinator.clockOffset += length.nanoseconds
            setCoordinatorTimer()
        }
    }

    // MARK: Stopped processes

    private func pause(_ seat: Int?) {
        if let seat {
            guard workers[seat].isRunning, !workers[seat].isPaused else { return }
            workers[seat].isPaused = true
            workers[seat].pausedAt = now
        } else if coordinator.state == .running, !coordinator.isPaused {
            coordinator.isPaused = true
            coordinator.pausedAt = now
        }
    }

    /// What a stopped process would do or see waits until it goes on.
    func isDeferred(_ occurrence: Occurrence) -> Bool {
        guard let node = addressee(occurrence) else { return false }
        switch node {
        case .coordinator:
            guard coordinator.isPaused else { return false }
            coordinator.deferred.append((occurrence, now))
        case .worker(let seat):
            guard workers[seat].isPaused else { return false }
            workers[seat].deferred.append((occurrence, now))
        }
        return true
    }

    private func addressee(_ occurrence: Occurrence) -> Node? {
        switch occurrence {
        case .tick(let node, _): node
        case .trainer(let seat, _), .reduced(let seat, _, _), .figures(let seat, _),
            .tokenWatch(let seat, _):
            .worker(seat)
        case .arrival(let index, let direction, _): ends(index, direction).to
        case .connect(let index, _): .worker(connections[index].dialler)
        case .notice(let index, let direction): ends(index, direction).from
        case .startCoordinator, .startWorker, .breaks, .fault, .faultEnds, .inspection:
            nil
        }
    }

    func resume(_ node: Node) {
        let waiting: [(occurrence: Occurrence, due: Int64)]
        let pausedAt: Int64
        switch node {
        case .coordinator:
            guard coordinator.isPaused else { return }
            coordinator.isPaused = false
            (waiting, pausedAt) = (coordinator.deferred, coordinator.pausedAt)
            coordinator.deferred = []
        case .worker(let seat):
            guard workers[seat].isPaused else { return }
            workers[seat].isPaused = false
            (waiting, pausedAt) = (workers[seat].deferred, workers[seat].pausedAt)
            workers[seat].deferred = []
        }
        // A driver's loop may look at its sockets or at its clock first.
        let clockFirst = generator.integer(below: 2) == 0
        for (occurrence, due) in waiting {
            switch occurrence {
            case .trainer, .reduced:
                // Its work stood still as well.
                queue.schedule(occurrence, at: now + (due - pausedAt))
            case .tick where !clockFirst:
                queue.schedule(occurrence, at: now + 1)
            case .tick, .arrival, .connect, .startCoordinator, .startWorker, .breaks, .fault,
                .faultEnds, .inspection, .notice, .figures, .tokenWatch:
                queue.schedule(occurrence, at: now)
            }
        }
    }
}
