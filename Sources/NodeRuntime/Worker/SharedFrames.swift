import ClusterModel
import Coordination
import Foundation
import WireProtocol
import ZeroMQ

/// Frames that workers of one region on one machine leave in their memory for each other (`same_host:
/// memory`): a reference of 32 bytes travels over the lane instead (section 2.1 of the protocol).
///
/// Every such worker has a file in memory, and says in `memory`, beside its Unix socket, how the others
/// find it: a path of its own process and the file's id. Who can open a peer's file leaves frames to that
/// peer in its own; the same user and the same process numbers make both possible or neither.
final class SharedFrames {
    /// Shorter payloads travel: libzmq batches that much into one call.
    static let leastPayload = 8_192

    private let own: FrameMemory
    private var peers: [WorkerID: (endpoint: String, memory: PeerMemory)] = [:]

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

    /// Opens the memory of those members that share it and forgets all others.
    ///
    /// - Returns: why a member on this machine cannot be reached so; it is reached by its socket.
    func allow(_ members: [PlanMember]) -> [String] {
        var refused: [String] = []
        let known = peers
        peers = [:]
        for member in members {
            guard let directory = SameHost.directory(of: member.endpoint) else { continue }
            if let old = known[member.workerID], old.endpoint == member.endpoint {
                peers[member.workerID] = old
                continue
            }
            do throws(NodeError) {
                peers[member.workerID] = (member.endpoint, try Self.open(directory))
            } catch {
                refused.append("cannot share memory with \(member.name): \(error.message)")
            }
        }
        return refused
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

    func reaches(_ peer: WorkerID) -> Bool { peers[peer] != nil }

    /// What is sent for a frame that stays here.
    func reference(to frame: FrameBuffer.Sealed, on lane: LaneID) throws -> ZeroMQ.Message {
        guard
            let reference = own.offer(frameAt: frame.address, bytes: frame.count, to: lane)
        else { preconditionFailure("sealed as a frame that stays here, and lies elsewhere") }
        return try ZeroMQ.Message(copying: reference.bytes)
    }

    /// The frame that a message refers to; nil: it was taken back.
    func frame(_ reference: FrameReference, from peer: WorkerID?) throws -> HeldMessage? {
        guard let peer, let memory = peers[peer]?.memory else {
            throw NodeError(
                .violation, "a reference to memory that this worker has not opened",
                hint: "`same_host: ipc` in the cluster file does without")
        }
        // Of an earlier life.
        guard memory.id == reference.memory else { return nil }
        return try memory.take(reference)
    }

    /// A connection is gone, with what was under way on it.
    func recall(_ lane: LaneID) { own.recall(lane) }
}
