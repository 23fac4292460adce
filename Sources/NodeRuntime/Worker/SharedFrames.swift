import ClusterModel
import Coordination
import Foundation
import WireProtocol
import ZeroMQ

/// Frames that workers of one region on one machine leave in their memory for each other (`same_host:
/// memory`): a reference of 32 bytes travels over the lane instead (section 2.1 of the protocol).
///
/// Every such worker has a file in memory, and says in `memory`, beside its Unix socket, how the others
/// find it: a path of its own process and the file's id. Who has opened a peer's file leaves word of that in
/// it, so each of two leaves frames to the other only when the other can read them.
final class SharedFrames {
    /// Shorter payloads travel: libzmq batches that much into one call.
    static let leastPayload = 8_192

    private struct Peer {
        let endpoint: String
        let memory: PeerMemory
        /// It has opened this worker's memory; asked until it has.
        var reads = false
        /// In the plan in force; the frames of others may still be under way.
        var isMember = true
    }

    private let own: FrameMemory
    private var peers: [WorkerID: Peer] = [:]
    /// Endpoints whose memory could not be opened, said once each. Asked, never iterated.
    private var refused: Set<String> = []

    /// - Parameters:
    ///   - pool: whose buffers shall be read by others.
    ///   - directory: of the Unix socket.
    init(_ pool: FramePool, directory: String) throws {
        own = try pool.share()
        let process = ProcessInfo.processInfo.processIdentifier
        let text = "/proc/\(process)/fd/\(own.descriptor) \(own.id)\n"
        try text.write(toFile: Self.file(in: directory), atomically: true, encoding: .utf8)
    }

    private static func file(in directory: String) -> String { directory + "/memory" }

    /// Opens the memory of those members that share it.
    ///
    /// - Returns: why a member on this machine cannot be reached so; it is reached by its socket.
    func allow(_ members: [PlanMember]) -> [String] {
        for worker in peers.keys.sorted() { peers[worker]?.isMember = false }
        var notes: [String] = []
        for member in members {
            guard let directory = SameHost.directory(of: member.endpoint) else { continue }
            if peers[member.workerID]?.endpoint == member.endpoint {
                peers[member.workerID]?.isMember = true
                continue
            }
            peers[member.workerID] = nil
            do throws(NodeError) {
                let memory = try Self.open(directory)
                guard memory.isRead(by: own.id) else {
                    throw NodeError(.unavailable, "too many have opened it")
                }
                peers[member.workerID] = Peer(endpoint: member.endpoint, memory: memory)
            } catch {
                guard refused.insert(member.endpoint).inserted else { continue }
                notes.append("cannot share memory with \(member.name): \(error.message)")
            }
        }
        return notes
    }

    private static func open(_ directory: String) throws(NodeError) -> PeerMemory {
        let path = file(in: directory)
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw NodeError(.unavailable, "\(path) cannot be read")
        }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let id = UInt64(words[1]) else {
            throw NodeError(
                .unavailable, "\(path) should say a path and a number, it says '\(text)'")
        }
        return try PeerMemory(path: String(words[0]), id: id)
    }

    /// Whether frames may be left to it.
    func reaches(_ peer: WorkerID) -> Bool {
        guard let known = peers[peer], known.isMember else { return false }
        if !known.reads { peers[peer]?.reads = own.isRead(by: known.memory.id) }
        return peers[peer]?.reads == true
    }

    /// Whether its memory is open here.
    func knows(_ peer: WorkerID) -> Bool { peers[peer]?.isMember == true }

    /// What is sent for a frame that stays here.
    func reference(to frame: FrameBuffer.Sealed, on lane: LaneID) throws -> ZeroMQ.Message {
        guard
            let reference = own.offer(frameAt: frame.address, bytes: frame.count, to: lane)
        else { preconditionFailure("sealed as a frame that stays here, and lies elsewhere") }
        return try ZeroMQ.Message(copying: reference.bytes)
    }

    /// The frame that a message refers to; nil: it was taken back, or is of a life that is over.
    func frame(_ reference: FrameReference, from peer: WorkerID) throws -> HeldMessage? {
        guard let memory = peers[peer]?.memory, memory.id == reference.memory else { return nil }
        return try memory.take(reference)
    }

    /// A lane is given up, with what was under way on it.
    func recall(_ lane: LaneID) { own.recall(lane) }
}
