/// Fixed blocks of memory shared by the byte queues of one thread.
@safe final class BlockPool {
    static let blockSize = 65_536
    /// Idle blocks kept for reuse: 16 MiB. More go back to the system.
    private static let idleLimit = 256

    private var idle: [UnsafeMutableRawPointer] = unsafe []

    deinit {
        while let block = unsafe idle.popLast() { unsafe block.deallocate() }
    }

    // SAFETY: a block belongs to the caller from `take` until `giveBack`.
    fileprivate func take() -> UnsafeMutableRawPointer {
        unsafe idle.popLast() ?? .allocate(byteCount: Self.blockSize, alignment: 64)
    }

    fileprivate func giveBack(_ block: UnsafeMutableRawPointer) {
        if unsafe idle.count < Self.idleLimit {
            unsafe idle.append(block)
        } else {
            unsafe block.deallocate()
        }
    }
}

/// A first-in, first-out queue of bytes over pooled blocks.
///
///     blocks:  [ . . c c c c ][ c c c c c c ][ c c . . . . ]
///                    ^ head                      ^ tail
///
/// Bytes are read from a descriptor into the last block and written from the first one, without
/// further copies; it holds at most two blocks more than its bytes need.
@safe final class ByteQueue {
    private let pool: BlockPool
    private var blocks = unsafe FIFO<UnsafeMutableRawPointer>()
    /// Offset of the first byte in the first block.
    private var head = 0
    /// Offset after the last byte in the last block.
    private var tail = BlockPool.blockSize
    /// Bytes held.
    private(set) var count = 0

    init(_ pool: BlockPool) { self.pool = pool }

    deinit { removeAll() }

    /// Lets `fill` write up to `limit` bytes at the end (fewer when the last block has less room)
    /// and append as many as it returns; a result of 0 or less appends nothing and is passed on.
    func append(atMost limit: Int, fill: (UnsafeMutableRawBufferPointer) -> Int) -> Int {
        if tail == BlockPool.blockSize {
            unsafe blocks.append(pool.take())
            tail = 0
        }
        // SAFETY: the region is inside the last block, which this queue owns.
        let region = unsafe UnsafeMutableRawBufferPointer(
            start: blocks.last.unsafelyUnwrapped + tail,
            count: min(limit, BlockPool.blockSize - tail))
        let added = unsafe fill(region)
        if added > 0 {
            precondition(added <= region.count, "filled beyond the region")
            tail += added
            count += added
        } else if count == 0 {
            removeAll()
        }
        return added
    }

    /// Lets `drain` read up to `limit` bytes at the front and removes as many as it returns; a
    /// result of 0 or less removes nothing and is passed on.
    func remove(atMost limit: Int, drain: (UnsafeRawBufferPointer) -> Int) -> Int {
        guard let first = unsafe blocks.first, count > 0 else { return 0 }
        // SAFETY: the region is inside the first block and holds initialised bytes.
        let region = unsafe UnsafeRawBufferPointer(
            start: first + head, count: min(limit, count, BlockPool.blockSize - head))
        let removed = unsafe drain(region)
        guard removed > 0 else { return removed }
        precondition(removed <= region.count, "drained beyond the region")
        head += removed
        count -= removed
        if count == 0 {
            removeAll()
        } else if head == BlockPool.blockSize {
            unsafe pool.giveBack(first)
            unsafe blocks.removeFirst()
            head = 0
        }
        return removed
    }

    /// Drops everything and gives the blocks back.
    func removeAll() {
        while let block = unsafe blocks.first {
            unsafe pool.giveBack(block)
            unsafe blocks.removeFirst()
        }
        head = 0
        tail = BlockPool.blockSize
        count = 0
    }
}
