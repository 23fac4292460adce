import Foundation
import Synchronization

/// One thread that takes jobs in the order given.
///
/// One, because Debian's OpenBLAS 0.3.21 crashes when two threads multiply at once with its thread count
/// set to 1 (docs/footguns.md); a thread of its own, because its kernels want more stack than Dispatch
/// gives.
final class TrainerQueue: Sendable {
    private static let stackBytes = 8 << 20

    private final class Shared: Sendable {
        /// Nil ends the thread.
        let jobs = Mutex<[(@Sendable () -> Void)?]>([])
        let pending = DispatchSemaphore(value: 0)

        func put(_ job: (@Sendable () -> Void)?) {
            jobs.withLock { $0.append(job) }
            pending.signal()
        }
    }
    private let shared = Shared()

    init() {
        let thread = Thread { [shared] in
            while true {
                shared.pending.wait()
                guard let job = shared.jobs.withLock({ $0.removeFirst() }) else { return }
                job()
            }
        }
        thread.name = "trainers"
        thread.stackSize = Self.stackBytes
        thread.start()
    }

    deinit { shared.put(nil) }

    func submit(_ job: @escaping @Sendable () -> Void) { shared.put(job) }
}
