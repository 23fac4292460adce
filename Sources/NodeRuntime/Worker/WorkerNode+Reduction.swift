import ClusterModel
import Coordination
import WireProtocol

// MARK: - The fused pass

extension WorkerNode {
    /// One pass over `sources`: a mean, or what this worker's region contributes to a round.
    func reduce(
        _ sources: [ShardReduction.Source], _ scope: CollectiveKey.Scope, _ transform: TransformID,
        _ elements: Int, _ contribution: RegionContribution?
    ) throws -> EncodedPayload {
        let bytes = try reducer.reduce(
            sources.map { (payloads[$0.handle], $0.weight) }, elements: elements,
            transform: transform, scope: scope, contribution: contribution, setup: setup)
        if let note = reducer.takeNote(source: options.name) { try report(note) }
        return EncodedPayload(
            handle: payloads.add(bytes), bytes: bytes.count, elements: UInt32(elements),
            transform: bytes.transform, stage: bytes.stage)
    }

    /// What the trainer has encoded between regions, with what has been reduced here.
    func reportCodecUse(_ classes: TensorClassTally) throws {
        guard let worker = machine?.worker else { return }
        let uses = classes.adding(reducer.classes).uses
        if !uses.isEmpty { try report(.codecUse(worker: worker, uses)) }
    }

    /// Decodes a mean that the machine has taken, as long as it is in the cache.
    func placeMean(of event: Worker.Event) {
        switch event {
        case .lane(_, let frame):
            guard case .chunk(let chunk) = frame.message, chunk.kind == .mean,
                let handle = frame.payload
            else { return }
            placeMean(handle, chunk.key, Int(chunk.slice), Int(chunk.position))
        case .reduced(let key, _, let slice, let position, let mean):
            placeMean(mean.handle, key, slice, position)
        default: return
        }
    }

    private func placeMean(
        _ handle: PayloadHandle, _ key: CollectiveKey, _ slice: Int, _ position: Int
    ) {
        guard
            let placement = machine?.placement(
                ofMean: handle, of: key, slice: slice, position: position),
            let placed = places.place(
                payloads[handle], of: placement.key, elements: placement.elements)
        else { return }
        payloads.replace(handle, with: placed)
    }
}
