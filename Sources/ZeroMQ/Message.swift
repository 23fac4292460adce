internal import CZeroMQ
internal import Glibc

/// One ZeroMQ frame. It owns its bytes and gives them back when it goes out of scope.
///
/// A message may move between threads; it is used by one at a time. Where several owners must hold
/// the same received bytes use `HeldMessage`.
package struct Message: ~Copyable, @unchecked Sendable {
    // libzmq's message is a plain 64-byte value without pointers into itself: moving it is legal.
    fileprivate var storage: zmq_msg_t

    /// An empty message.
    package init() {
        storage = zmq_msg_t()
        unsafe _ = zmq_msg_init(&storage)
    }

    /// A message with `count` bytes which `fill` writes; the bytes start undefined.
    package init(count: Int, fill: (inout MutableSpan<UInt8>) -> Void) throws(ZeroMQError) {
        storage = zmq_msg_t()
        guard unsafe zmq_msg_init_size(&storage, count) == 0 else {
            // Closing the zeroed message, as throwing does, has no effect.
            throw .last("allocate", "message of \(count) bytes")
        }
        // SAFETY: zmq_msg_data points to `count` writable bytes of this message, until it is closed.
        let buffer = unsafe UnsafeMutableBufferPointer(
            start: zmq_msg_data(&storage)?.assumingMemoryBound(to: UInt8.self), count: count)
        var span = unsafe buffer.mutableSpan
        fill(&span)
    }

    /// A message with a copy of `bytes`.
    package init(copying bytes: Span<UInt8>) throws(ZeroMQError) {
        try self.init(count: bytes.count) { target in
            unsafe bytes.withUnsafeBytes { source in
                unsafe target.withUnsafeMutableBytes { unsafe $0.copyMemory(from: source) }
            }
        }
    }

    /// A message with a copy of `bytes`.
    package init(copying bytes: [UInt8]) throws(ZeroMQError) {
        try self.init(copying: bytes.span)
    }

    /// A message which refers to `bytes` without copying them and retains `owner` until libzmq has
    /// sent them.
    ///
    /// The release runs on one of libzmq's I/O threads: `owner` must be `Sendable`, and its `deinit`
    /// must only hand the buffer back (no locks held long, no ZeroMQ calls).
    ///
    /// - Safety: `bytes` must stay valid and unchanged for as long as `owner` lives.
    @unsafe package init(
        referringTo bytes: UnsafeRawBufferPointer, owner: some AnyObject & Sendable
    ) throws(ZeroMQError) {
        storage = zmq_msg_t()
        let hint = unsafe Unmanaged<AnyObject>.passRetained(owner)
        // SAFETY: libzmq only reads the bytes of an outgoing message, so dropping const is sound; the
        // free function takes back exactly the one retain made above.
        let code = unsafe zmq_msg_init_data(
            &storage, UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count,
            { _, hint in
                guard let hint = unsafe hint else { return }
                unsafe Unmanaged<AnyObject>.fromOpaque(hint).release()
            }, hint.toOpaque())
        guard code == 0 else {
            unsafe hint.release()
            throw .last("allocate", "message over \(bytes.count) bytes")
        }
    }

    deinit {
        var last = storage
        // SAFETY: the storage was initialised by one of the initialisers and is closed once.
        unsafe _ = zmq_msg_close(&last)
    }

    /// Size in bytes.
    package var count: Int { unsafe withStorage { unsafe zmq_msg_size($0) } }

    /// Whether further frames of the same multipart message follow.
    package var hasMore: Bool { unsafe withStorage { unsafe zmq_msg_more($0) } != 0 }

    /// The name the ZAP handler gave to the peer's key; nil on an unauthenticated connection.
    ///
    /// Rule 7: read it from the *body* frame of a routed message; the identity frame has none.
    package var userID: String? { property("User-Id") }

    /// The peer's IP address as libzmq saw it; with a SOCKS relay in between, the relay's.
    package var peerAddress: String? { property("Peer-Address") }

    /// The TCP descriptor the message came by, to cut off a revoked peer (see `PeerConnection`).
    package var sourceDescriptor: Int32? {
        let descriptor = unsafe withStorage { unsafe zmq_msg_get($0, ZMQ_SRCFD) }
        return descriptor >= 0 ? descriptor : nil
    }

    /// Reads the bytes in place.
    package borrowing func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var view = storage
        // SAFETY: `view` is a bitwise copy used only inside this call, while `self` is borrowed and so
        // cannot be closed; it is never closed itself.
        let buffer = unsafe UnsafeBufferPointer(
            start: UnsafePointer(zmq_msg_data(&view)?.assumingMemoryBound(to: UInt8.self)),
            count: zmq_msg_size(&view))
        defer { withExtendedLifetime(self) {} }
        return try unsafe withUnsafeMutablePointer(to: &view) { _ throws(Failure) in
            try unsafe body(buffer.span)
        }
    }

    /// A copy of the bytes.
    package var copiedBytes: [UInt8] {
        withBytes { bytes in
            unsafe Array(unsafeUninitializedCapacity: bytes.count) { target, filled in
                unsafe bytes.withUnsafeBytes {
                    unsafe UnsafeMutableRawBufferPointer(target).copyMemory(from: $0)
                }
                filled = bytes.count
            }
        }
    }

    /// Gives `body` the C message for a call which may change it.
    mutating func withMutableStorage<Result>(
        _ body: (UnsafeMutablePointer<zmq_msg_t>) -> Result
    ) -> Result {
        unsafe body(&storage)
    }

    private func withStorage<Result>(_ body: (UnsafePointer<zmq_msg_t>) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) { unsafe body($0) }
    }

    private func property(_ name: String) -> String? {
        unsafe withStorage { message in
            // SAFETY: the returned text belongs to the message, which outlives this closure.
            guard let text = unsafe zmq_msg_gets(message, name) else { return nil }
            return unsafe String(cString: text)
        }
    }
}
