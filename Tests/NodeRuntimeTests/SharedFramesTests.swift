import ClusterModel
import Coordination
import Foundation
import NodeRuntime
import Testing
import WireProtocol
import ZeroMQ

/// Two workers' ends in one process: the same files, mapped by each.
@Suite("Frames in shared memory") struct SharedFramesTests {
    private static let lane = LaneID(peer: WorkerID(rawValue: 1), role: .dialler, index: 0)

    /// A sender's pool with its memory, and the same memory as a receiver has opened it.
    private struct Ends {
        let pool = FramePool()
        let memory: FrameMemory
        let peer: PeerMemory

        init() throws {
            memory = try pool.share()
            peer = try PeerMemory(path: "/proc/self/fd/\(memory.descriptor)", id: memory.id)
        }

        /// Offers a frame whose payload is `count` times one byte.
        func offer(_ byte: UInt8, count: Int = 60_000) throws -> FrameReference {
            let buffer = pool.take()
            buffer.withMutablePayload(count) { bytes in
                for index in bytes.indices { bytes[index] = byte }
            }
            let chunk = Chunk(
                key: .inner(region: RegionID(0), step: 1), kind: .contribution, transform: .fp32,
                stage: .stored, slice: 0, group: 0, position: 0, elements: UInt32(count / 4),
                weight: 1, origin: Rank(0), flags: [])
            let sealed = try buffer.seal(
                FrameHeader(
                    run: RunID(rawValue: 1), incarnation: Incarnation(rawValue: 1),
                    epoch: Epoch(rawValue: 1), rank: Rank(0), sequence: 1), .chunk(chunk),
                payloadCount: count, offset: Chunk.payloadOffset, for: .memory)
            return try #require(
                memory.offer(
                    frameAt: sealed.address, bytes: sealed.count, to: SharedFramesTests.lane))
        }
    }

    @Test func aFrameIsReadWhereItLies() throws {
        let ends = try Ends()
        let reference = try ends.offer(7)
        let message = try #require(try ends.peer.take(reference))
        let (frame, last) = try message.withBytes { bytes throws(FrameError) in
            (
                try FrameDecoder.decode(bytes, limits: .data, medium: .memory),
                bytes[bytes.count - 1]
            )
        }
        #expect(frame.message.type == .chunk && frame.payload.count == 60_000 && last == 7)
    }

    @Test func aBufferIsUsedAgainWhenItsReaderIsDone() throws {
        let ends = try Ends()
        do {
            let message = try #require(try ends.peer.take(try ends.offer(1)))
            // The sender is done with it; the reader is not.
            #expect(try ends.offer(2).slot != 0)
            #expect(message.withBytes { $0[$0.count - 1] } == 1)
            #expect(ends.pool.counts.allocated == 2 && ends.pool.counts.inUse == 0)
        }
        #expect(try ends.offer(3).slot == 0)
        #expect(ends.pool.counts.allocated == 2)
    }

    @Test func whatIsTakenBackIsNeverRead() throws {
        let ends = try Ends()
        let first = try ends.offer(1)
        ends.memory.recall(LaneID(peer: WorkerID(rawValue: 2), role: .dialler, index: 0))
        let second = try ends.offer(2)
        #expect(first.slot != second.slot, "another lane's frames stay")
        ends.memory.recall(Self.lane)
        #expect(try ends.peer.take(first) == nil)
        // The same slot again: the old reference does not open it.
        let third = try ends.offer(3)
        #expect(third.slot == first.slot && third.generation == first.generation + 1)
        #expect(try ends.peer.take(first) == nil)
        let message = try #require(try ends.peer.take(third))
        ends.memory.recall(Self.lane)
        #expect(try ends.offer(4).slot == second.slot, "not what is being read")
        #expect(message.withBytes { $0[$0.count - 1] } == 3)
        #expect(try ends.peer.take(third) == nil)
    }

    @Test func theOwnerKnowsWhoCanRead() throws {
        let ends = try Ends()
        #expect(!ends.memory.isRead(by: 7))
        for _ in 0..<2 { #expect(ends.peer.isRead(by: 7)) }
        #expect(ends.memory.isRead(by: 7) && !ends.memory.isRead(by: 8))
        for id in 1_001..<1_000 + UInt64(FrameMemoryLayout.readerCount) {
            #expect(ends.peer.isRead(by: id))
        }
        #expect(!ends.peer.isRead(by: 9), "full")
        #expect(ends.peer.isRead(by: 7), "known")
    }

    @Test func buffersBeyondTheMemoryTravel() throws {
        let pool = FramePool()
        _ = try pool.share()
        let all = (0..<FrameMemoryLayout.slots).map { _ in pool.take() }
        #expect(all.allSatisfy { $0.isShared })
        withExtendedLifetime(all) { #expect(!pool.take().isShared) }
    }

    @Test func anotherFileIsRefused() throws {
        let pool = FramePool()
        let memory = try pool.share()
        let path = "/proc/self/fd/\(memory.descriptor)"
        #expect(throws: NodeError.self) { _ = try PeerMemory(path: path, id: memory.id ^ 1) }
        #expect(throws: NodeError.self) { _ = try PeerMemory(path: "/dev/null", id: memory.id) }
        #expect(throws: NodeError.self) { _ = try PeerMemory(path: path + "0000", id: memory.id) }
    }
}
