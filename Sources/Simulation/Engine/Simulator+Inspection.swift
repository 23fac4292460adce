import ClusterModel
import Coordination
import WireProtocol

// MARK: - The checkers' regular look, and the end

extension Simulator {
    func inspect() {
        let running = workers.indices.filter { workers[$0].isRunning && !workers[$0].isPaused }
        checker.inspect(
            now, patience: configuration.deadlines.patience.nanoseconds, running: running)
        for seat in running { checkPool(seat) }
        queue.schedule(.inspection, at: now + RunChecker.inspectionInterval)
    }

    /// Payloads a worker may hold: both finished means and the one under way, contributions of every
    /// replica to its own slice for this round and the next, its own on the way, and a state transfer.
    private func checkPool(_ seat: Int) {
        guard let plan = workers[seat].machine?.round.plan else { return }
        let key = CollectiveKey.outer(fragment: FragmentID(0), round: 1)
        let positions = plan.geometry(of: key).totalPositions
        let members = plan.plan.members.count
        let limit = 8 * positions + 4 * positions * members + 64
        if workers[seat].pool.count > limit {
            checker.find(
                "payloads", now,
                "\(workers[seat].name) holds \(workers[seat].pool.count) payloads (limit \(limit))")
        }
    }

    /// The figures a real run's drivers add at the end.
    func conclude() {
        for worker in workers where worker.life > 0 {
            record(
                .budget(worker: WorkerID(worker.seat), worker.budget.budget), from: worker.name)
            for use in traffic[worker.seat] where use.frames > 0 {
                record(.traffic(worker: WorkerID(worker.seat), use), from: worker.name)
            }
        }
        for from in topology.regions.indices {
            for to in topology.regions.indices where from != to {
                let use = fabric.linkUse(RegionID(from), RegionID(to))
                guard use.bytes > 0 else { continue }
                record(
                    .linkUse(
                        RunEvent.LinkUse(
                            from: RegionID(from), to: RegionID(to), bytes: use.bytes, flows: 0,
                            peakQueueBytes: UInt64(use.peakQueue))), from: "fabric")
            }
        }
    }
}
