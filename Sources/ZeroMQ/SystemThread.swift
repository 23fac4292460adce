internal import Glibc
internal import Synchronization

/// A named thread which is joined or detached exactly once.
final class SystemThread: Sendable {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let handle: pthread_t
    private let finished = Atomic<Bool>(false)

    init(name: String, _ run: @escaping @Sendable () -> Void) throws(ZeroMQError) {
        let body = unsafe Unmanaged.passRetained(Body(run))
        var handle = pthread_t()
        // SAFETY: the thread takes over the one retain made above.
        let code = unsafe pthread_create(
            &handle, nil,
            { argument in
                unsafe Unmanaged<Body>.fromOpaque(argument.unsafelyUnwrapped)
                    .takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        guard code == 0 else {
            unsafe body.release()
            throw ZeroMQError(
                .system, operation: "start", subject: "thread \(name)", code: code,
                reason: "the system refused a thread", hint: "check ulimit -u")
        }
        self.handle = handle
    }

    deinit {
        precondition(
            finished.load(ordering: .acquiring), "a thread must be joined or detached")
    }

    func join() {
        finish()
        _ = pthread_join(handle, nil)
    }

    /// Lets the thread end by itself; nobody waits for it any more.
    func detach() {
        finish()
        _ = pthread_detach(handle)
    }

    private func finish() {
        let before = finished.exchange(true, ordering: .acquiringAndReleasing)
        precondition(!before, "a thread is joined or detached once")
    }
}
