internal import CLinux
import ClusterModel
package import Coordination
internal import Glibc
import Synchronization
package import WireProtocol
package import ZeroMQ

/// The slots that this worker's frames lie in where peers on this machine read them in place.
package final class FrameMemory: Sendable {
    package let id: UInt64
    package let descriptor: Int32
    private let memory: MappedMemory
    /// By slot: how often it was offered, and to whom last.
    private let offers = Mutex<[(generation: UInt32, lane: LaneID?)]>(
        Array(repeating: (0, nil), count: FrameMemoryLayout.slots))

    init() throws(NodeError) {
        // SAFETY: system calls on a literal name and a new descriptor.
        let descriptor = unsafe memfd_create(
            "longhaul-frames", LONGHAUL_MFD_CLOEXEC | LONGHAUL_MFD_ALLOW_SEALING)
        guard descriptor >= 0, ftruncate(descriptor, off_t(FrameMemoryLayout.byteCount)) == 0,
            fcntl(descriptor, LONGHAUL_F_ADD_SEALS, LONGHAUL_SEAL_SIZE) == 0,
            let memory = MappedMemory(descriptor: descriptor)
        else {
            let reason = SystemText.last
            if descriptor >= 0 { _ = close(descriptor) }
            throw NodeError(
                .unavailable, "no memory to share with workers of this machine: \(reason)")
        }
        self.descriptor = descriptor
        self.memory = memory
        id = UInt64.random(in: 1...UInt64.max)
        memory.writeHead(id: id)
    }

    deinit { _ = close(descriptor) }

    func address(of slot: Int) -> UInt { memory.address(of: slot) }

    /// Whether the worker with this memory has opened this one.
    package func isRead(by id: UInt64) -> Bool { memory.hasReader(id) }

    func contains(_ address: UInt) -> Bool { memory.slot(at: address) != nil }

    /// Whether nobody reads what starts here.
    func isFree(_ address: UInt) -> Bool {
        memory.slot(at: address).map { memory.isFree($0) } ?? true
    }

    /// Of the frame that lies at an address, for the peer behind a lane; nil: it lies elsewhere.
    package func offer(frameAt address: UInt, bytes: Int, to lane: LaneID) -> FrameReference? {
        guard let slot = memory.slot(at: address) else { return nil }
        let generation = offers.withLock { offers in
            let next = (offers[slot].generation + 1) & FrameMemoryLayout.lastGeneration
            offers[slot] = (next, lane)
            return next
        }
        memory.offer(slot, generation)
        return FrameReference(
            slot: UInt32(slot), generation: generation,
            start: UInt32(address - memory.address(of: slot)), length: UInt32(bytes), memory: id)
    }

    /// What was offered over a connection that is gone, and not taken, is free: no reference to it arrives.
    package func recall(_ lane: LaneID) {
        offers.withLock { offers in
            for slot in offers.indices where offers[slot].lane == lane {
                offers[slot].lane = nil
                _ = memory.change(slot, offers[slot].generation, from: .offered, to: .free)
            }
        }
    }
}

/// The slots of a peer on this machine.
package final class PeerMemory: Sendable {
    package let id: UInt64
    private let memory: MappedMemory

    /// - Parameters:
    ///   - path: of the file; of the peer's process.
    ///   - id: as the peer has written it down: another process may have taken the number.
    package init(path: String, id: UInt64) throws(NodeError) {
        // SAFETY: system calls on a path and a descriptor of this call.
        let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
        defer { if descriptor >= 0 { _ = close(descriptor) } }
        guard descriptor >= 0 else {
            throw NodeError(.unavailable, "\(path): \(SystemText.last)")
        }
        let bytes = lseek(descriptor, 0, SEEK_END)
        guard bytes == off_t(FrameMemoryLayout.byteCount),
            fcntl(descriptor, LONGHAUL_F_GET_SEALS) == LONGHAUL_SEAL_SIZE
        else {
            throw NodeError(
                .unavailable,
                "\(path) has \(bytes) bytes, and should have \(FrameMemoryLayout.byteCount) for good"
            )
        }
        guard let memory = MappedMemory(descriptor: descriptor) else {
            throw NodeError(.unavailable, "\(path): \(SystemText.last)")
        }
        guard memory.head == (FrameMemoryLayout.magic, id) else {
            throw NodeError(.unavailable, "\(path) is not the memory \(id)")
        }
        self.memory = memory
        self.id = id
    }

    /// Tells the owner that the worker with the memory `own` can read here; false: too many have.
    package func isRead(by own: UInt64) -> Bool { memory.addReader(own) }

    /// The frame, where it lies; nil: it has been taken back, since the connection broke that it came by.
    package func take(_ reference: FrameReference) throws(ZeroMQError) -> HeldMessage? {
        let slot = Int(reference.slot)
        guard memory.change(slot, reference.generation, from: .offered, to: .read) else {
            return nil
        }
        let frame = BorrowedFrame(memory, slot, reference.generation)
        // SAFETY: the range lies in the slot (checked when the reference was read), which its owner does
        // not write to until `frame` is gone.
        let start = unsafe UnsafeRawPointer(
            bitPattern: memory.address(of: slot) + UInt(reference.start))
        return try unsafe HeldMessage(
            ZeroMQ.Message(
                referringTo: UnsafeRawBufferPointer(start: start, count: Int(reference.length)),
                owner: frame))
    }
}

/// Gives a slot back to its owner when the last reader is done.
private final class BorrowedFrame: Sendable {
    private let memory: MappedMemory
    private let slot: Int
    private let generation: UInt32

    init(_ memory: MappedMemory, _ slot: Int, _ generation: UInt32) {
        self.memory = memory
        self.slot = slot
        self.generation = generation
    }

    deinit { memory.free(slot, generation) }
}
