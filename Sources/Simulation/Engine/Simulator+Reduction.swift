import ClusterModel
import Coordination
import WireProtocol

// MARK: - The fused pass

extension Simulator {
    func reduce(
        _ seat: Int, _ place: WorkerProcess.Position, _ sources: [ShardReduction.Source],
        _ transform: TransformID, _ elements: Int, _ contribution: RegionContribution?
    ) {
        for source in sources where workers[seat].pool.content(source.handle) == nil {
            checker.find("payloads", now, "\(workers[seat].name) reduces a released payload")
        }
        guard let content = mean(seat, place.key.scope, sources, transform, elements, contribution)
        else { return }
        var stage = StageID.stored
        if case .encoded(let encoded) = content { stage = encoded.stage }
        let mean = EncodedPayload(
            handle: workers[seat].pool.store(content), bytes: content.bytes,
            elements: UInt32(elements), transform: transform, stage: stage)
        workers[seat].nextJob += 1
        let job = workers[seat].nextJob
        workers[seat].jobs[job] = WorkerProcess.Reduction(place: place, mean: mean)
        let time = options.cost.time(
            4 * elements * (sources.count + 1), at: options.cost.reduceRate)
        // They end in the order in which a worker's loop makes them: a short one not before a long one that
        // was asked for earlier.
        let end = max(now + time, workers[seat].reducesUntil)
        workers[seat].reducesUntil = end
        queue.schedule(.reduced(seat: seat, life: workers[seat].life, job: job), at: end)
    }

    /// Nil when the host cannot make it; the owner leaves then.
    private func mean(
        _ seat: Int, _ scope: CollectiveKey.Scope, _ sources: [ShardReduction.Source],
        _ transform: TransformID, _ elements: Int, _ contribution: RegionContribution?
    ) -> PayloadPool.Content? {
        if options.payloads.isModelled {
            return .modelled(bytes: PayloadPool.modelledBytes(transform, elements))
        }
        guard let host else {
            let parts: [[Float]] = sources.compactMap {
                if case .values(let values) = workers[seat].pool.content($0.handle) {
                    values
                } else {
                    nil
                }
            }
            return .values(Self.weightedMean(parts, sources.map(\.weight), elements: elements))
        }
        let parts: [(bytes: EncodedBytes, weight: UInt64)] = sources.compactMap {
            if case .encoded(let bytes) = workers[seat].pool.content($0.handle) {
                (bytes, $0.weight)
            } else {
                nil
            }
        }
        switch host.mean(
            parts, elements: elements, transform: transform, scope: scope,
            contribution: contribution, owner: WorkerID(seat))
        {
        case .success(let bytes): return .encoded(bytes)
        case .failure(let failure):
            tell(seat, .leave(code: .digestMismatch, reason: failure.reason))
            return nil
        }
    }

    /// f_i = w_i / sum w in double, rounded to float; products and sums rounded apart, in the order of
    /// the sources (Protocols/longhaul-1.md, "Mean").
    static func weightedMean(_ parts: [[Float]], _ tokens: [UInt64], elements: Int) -> [Float] {
        let total = Double(tokens.reduce(0, +))
        var mean = [Float](repeating: 0, count: elements)
        for (number, part) in parts.enumerated() {
            let share = Float(Double(tokens[number]) / total)
            for index in 0..<min(elements, part.count) {
                let product = share * part[index]
                mean[index] = number == 0 ? product : mean[index] + product
            }
        }
        return mean
    }

    func finishReduction(_ seat: Int, _ life: UInt64, _ job: UInt64) {
        guard workers[seat].life == life,
            let done = workers[seat].jobs.removeValue(forKey: job)
        else { return }
        tell(
            seat,
            .reduced(
                key: done.place.key, epoch: done.place.epoch, slice: done.place.slice,
                position: done.place.position, mean: done.mean))
    }
}
