internal import Glibc
import Synchronization
import WireProtocol

/// A file in memory that frames lie in, mapped into this process (``FrameMemoryLayout``): this worker's own
/// or that of a peer on this machine.
///
/// Whose turn it is with a slot stands in one word of it, which both processes change:
///
///     free -> offered (the owner, before the reference leaves) -> read (the receiver) -> free (the same)
///             offered -> free (the owner, when the reference can no longer arrive)
///
/// The owner writes only free slots, the receiver reads only what it has made *read*; each change is a
/// release, and is read with acquire.
@safe final class MappedMemory: Sendable {
    enum Phase: UInt32 {
        case free, offered, read
    }

    private typealias Layout = FrameMemoryLayout
    private let start: UInt
    private var base: UnsafeMutableRawPointer {
        guard let base = unsafe UnsafeMutableRawPointer(bitPattern: start) else {
            preconditionFailure("mapped at 0")
        }
        return unsafe base
    }

    /// nil, with `errno`: the file cannot be mapped.
    init?(descriptor: Int32) {
        // SAFETY: a new mapping, whose result is checked. The file's size is sealed, so no access faults.
        let mapped = unsafe mmap(
            nil, Layout.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else { return nil }
        start = UInt(bitPattern: mapped)
    }

    deinit { unsafe _ = munmap(base, Layout.byteCount) }

    /// The first two words: what the file is, and which.
    var head: (magic: UInt64, id: UInt64) {
        // SAFETY: inside the mapping, aligned; written before anybody else knew of the file.
        unsafe (
            base.load(as: UInt64.self),
            base.load(fromByteOffset: Layout.idOffset, as: UInt64.self)
        )
    }

    func writeHead(id: UInt64) {
        // SAFETY: as above.
        unsafe base.storeBytes(of: Layout.magic, as: UInt64.self)
        unsafe base.storeBytes(of: id, toByteOffset: Layout.idOffset, as: UInt64.self)
    }

    /// Leaves word that the owner of the memory `id` reads here; false: there is no room.
    func addReader(_ id: UInt64) -> Bool {
        (0..<Layout.readerCount).contains { place in
            withReader(place) { word in
                let found = word.compareExchange(
                    expected: 0, desired: id, ordering: .acquiringAndReleasing)
                return found.exchanged || found.original == id
            }
        }
    }

    func hasReader(_ id: UInt64) -> Bool {
        (0..<Layout.readerCount).contains { place in
            withReader(place) { $0.load(ordering: .acquiring) == id }
        }
    }

    private func withReader<R>(_ place: Int, _ body: (borrowing Atomic<UInt64>) -> R) -> R {
        // SAFETY: as in `withState`.
        let word = unsafe (base + Layout.readers + place * MemoryLayout<UInt64>.stride)
            .assumingMemoryBound(to: Atomic<UInt64>.self)
        defer { withExtendedLifetime(self) {} }
        return unsafe body(word.pointee)
    }

    /// Address of a slot's first byte.
    func address(of slot: Int) -> UInt {
        start + UInt(Layout.firstSlot + slot * Layout.slotBytes)
    }

    /// The slot that starts at an address of this mapping; nil: not one of it.
    func slot(at address: UInt) -> Int? {
        guard address >= start + UInt(Layout.firstSlot),
            address < start + UInt(Layout.byteCount)
        else { return nil }
        return Int(address - start - UInt(Layout.firstSlot)) / Layout.slotBytes
    }

    func isFree(_ slot: Int) -> Bool {
        withState(slot) { $0.load(ordering: .acquiring) & 3 == Phase.free.rawValue }
    }

    /// For the owner, of a slot that is free.
    func offer(_ slot: Int, _ generation: UInt32) {
        withState(slot) { $0.store(Self.word(.offered, generation), ordering: .releasing) }
    }

    /// For who reads it.
    func free(_ slot: Int, _ generation: UInt32) {
        withState(slot) { $0.store(Self.word(.free, generation), ordering: .releasing) }
    }

    /// False: the slot is not, or no longer, in the phase `old` of this generation.
    func change(_ slot: Int, _ generation: UInt32, from old: Phase, to new: Phase) -> Bool {
        withState(slot) {
            $0.compareExchange(
                expected: Self.word(old, generation), desired: Self.word(new, generation),
                ordering: .acquiringAndReleasing
            ).exchanged
        }
    }

    private static func word(_ phase: Phase, _ generation: UInt32) -> UInt32 {
        generation << 2 | phase.rawValue
    }

    private func withState<R>(_ slot: Int, _ body: (borrowing Atomic<UInt32>) -> R) -> R {
        precondition((0..<Layout.slots).contains(slot))
        // SAFETY: inside the mapping and aligned. An atomic has the layout of its value; zero bytes, which
        // a new file has, are the atomic 0.
        let state = unsafe (base + Layout.states + slot * Layout.stateStride)
            .assumingMemoryBound(to: Atomic<UInt32>.self)
        defer { withExtendedLifetime(self) {} }
        return unsafe body(state.pointee)
    }
}
