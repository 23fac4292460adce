import Glibc

/// A few threads which share the chunks of one pass. Which thread takes which chunk does not
/// matter: chunks are independent, and per-chunk results are combined in chunk order.
///
/// Threads sleep between passes. One thread at a time may start a pass.
package final class KernelPool: Sendable {
    /// Threads including the caller's.
    package let threads: Int

    private let shared = PoolState()
    private let handles: [pthread_t]

    /// Starts `threads - 1` threads; 1 to 64.
    package init(threads: Int) {
        precondition((1...64).contains(threads), "a pool of \(threads) threads: expected 1 to 64")
        self.threads = threads
        let shared = shared
        handles = (1..<threads).map { _ in
            var handle = pthread_t()
            // SAFETY: the thread takes over the retain made here.
            let result = unsafe pthread_create(
                &handle, nil,
                { pointer in
                    unsafe Unmanaged<PoolState>.fromOpaque(pointer.unsafelyUnwrapped)
                        .takeRetainedValue().serve()
                    return nil
                },
                Unmanaged.passRetained(shared).toOpaque())
            precondition(result == 0, "kernel pool: pthread_create failed with \(result)")
            return handle
        }
    }

    deinit {
        shared.close()
        // Each handle is joined once; the threads return after `close`.
        for handle in handles { pthread_join(handle, nil) }
    }

    /// Calls `body` once for every index below `count`, in any order and on any of the threads;
    /// returns when all calls have returned.
    package func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        if count > 0 { shared.run(count, body) }
    }
}

/// What the threads of a pool share.
@safe
private final class PoolState: @unchecked Sendable {
    // SAFETY of @unchecked Sendable: every variable is read and written under `lock`.
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var work: (@Sendable (Int) -> Void)?
    private var next = 0
    private var total = 0
    private var unfinished = 0
    private var closing = false

    init() {
        // SAFETY: initialised here, destroyed in deinit, when no thread holds this object.
        unsafe lock = .allocate(capacity: 1)
        unsafe changed = .allocate(capacity: 1)
        unsafe pthread_mutex_init(lock, nil)
        unsafe pthread_cond_init(changed, nil)
    }

    deinit {
        // SAFETY: as in init.
        unsafe pthread_cond_destroy(changed)
        unsafe pthread_mutex_destroy(lock)
        unsafe changed.deallocate()
        unsafe lock.deallocate()
    }

    func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        // SAFETY: mutex and condition are live as long as the object.
        unsafe pthread_mutex_lock(lock)
        precondition(unfinished == 0, "kernel pool: a pass is already running")
        work = body
        next = 0
        total = count
        unfinished = count
        unsafe pthread_cond_broadcast(changed)
        takeAll()
        while unfinished > 0 { unsafe pthread_cond_wait(changed, lock) }
        work = nil
        unsafe pthread_mutex_unlock(lock)
    }

    func close() {
        // SAFETY: as in `run`.
        unsafe pthread_mutex_lock(lock)
        closing = true
        unsafe pthread_cond_broadcast(changed)
        unsafe pthread_mutex_unlock(lock)
    }

    func serve() {
        // SAFETY: as in `run`.
        unsafe pthread_mutex_lock(lock)
        while !closing {
            takeAll()
            if !closing && next >= total { unsafe pthread_cond_wait(changed, lock) }
        }
        unsafe pthread_mutex_unlock(lock)
    }

    /// Takes indices until none is left. Entered and left with the lock held.
    private func takeAll() {
        while next < total, let body = work {
            let index = next
            next += 1
            // SAFETY: the lock is held here and again after the call.
            unsafe pthread_mutex_unlock(lock)
            body(index)
            unsafe pthread_mutex_lock(lock)
            unfinished -= 1
            if unfinished == 0 { unsafe pthread_cond_broadcast(changed) }
        }
    }
}
