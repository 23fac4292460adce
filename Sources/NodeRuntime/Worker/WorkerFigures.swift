import ClusterModel
import WireProtocol

/// Counts what a worker sends, by region; and what its operator wants to read at once.
struct WorkerFigures {
    /// Region of each seat.
    var regions: [RegionID] = []
    private var byRegion: [RunEvent.Traffic] = []
    /// Frames of others that went through here.
    private(set) var relayed: [RunEvent.RelayUse] = []

    mutating func sent(to peer: WorkerID, frameBytes: Int, message: WireProtocol.Message) {
        guard regions.indices.contains(Int(peer.rawValue)) else { return }
        let region = regions[Int(peer.rawValue)]
        let index =
            byRegion.firstIndex { $0.toRegion == region }
            ?? {
                byRegion.append(
                    RunEvent.Traffic(
                        toRegion: region, frames: 0, bytes: 0, resent: 0, values: 0,
                        encodedBytes: 0))
                return byRegion.count - 1
            }()
        byRegion[index].frames += 1
        byRegion[index].bytes += UInt64(frameBytes)
        if message.type == .tokens {
            byRegion[index].tokenBytes = (byRegion[index].tokenBytes ?? 0) + UInt64(frameBytes)
        }
        if case .chunk(let chunk) = message {
            byRegion[index].values += UInt64(chunk.elements)
            byRegion[index].encodedBytes += UInt64(frameBytes - Chunk.payloadOffset)
        }
    }

    /// A frame between two others went through here.
    mutating func passedOn(from: WorkerID, to: WorkerID, frameBytes: Int) {
        let place =
            relayed.firstIndex { $0.from == from && $0.to == to }
            ?? {
                relayed.append(RunEvent.RelayUse(from: from, to: to, frames: 0, bytes: 0))
                return relayed.count - 1
            }()
        relayed[place].frames += 1
        relayed[place].bytes += UInt64(frameBytes)
    }

    var traffic: [RunEvent.Traffic] { byRegion }

    /// A line for the worker's own terminal, for events that matter there; nil for the others.
    static func line(for event: RunEvent) -> String? {
        switch event {
        case .coordinatorLost(_, _, let until):
            let left = Int(until.nanoseconds / 1_000_000_000)
            return "the coordinator is silent; training goes on until \(left) s of run time, then "
                + "the state is saved and this worker leaves with code 69"
        case .coordinatorReturned: return "the coordinator is back"
        case .checkpointFailed(_, let path, let reason):
            return "checkpoint \(path) failed, training goes on: \(reason)"
        case .violation(let culprit, let what): return "\(culprit): \(what)"
        case .waiting(_, let activity, let names, _, _, let then):
            return "waiting for \(names.joined(separator: ", ")): \(activity); else: \(then)"
        case .waited(_, let activity, let names, let since, let until):
            let length = Figures.duration((until - since).seconds)
            return "waited \(length) for \(names.joined(separator: ", ")): \(activity)"
        case .runStarted, .workerJoined, .epochStarted, .stepped, .evaluated, .roundCommitted,
            .roundClosed,
            .workerEvicted, .workerLeft, .checkpointWritten, .budget, .traffic, .linkUse,
            .peakMemory, .modelWritten, .codecUse, .expertUse, .expertsExchanged, .expertOwners,
            .tokensCrossed, .lanesDecided,
            .stateTaken, .relayed, .note,
            .runEnded:
            return nil
        }
    }
}
