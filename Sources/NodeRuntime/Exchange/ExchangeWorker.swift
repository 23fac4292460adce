import ClusterModel
import Compression
import Foundation
import Synchronization
import Training
import ZeroMQ

/// A worker of `longhaul bench allreduce`: the shipped worker with a trainer that does nothing else.
package enum ExchangeWorker {
    /// Exchanges before the first one that counts.
    package static let warmup = 4

    /// Takes part until the run ends.
    ///
    /// - Parameters:
    ///   - elements: of all fragments together.
    ///   - repeats: exchanges that count.
    ///   - fragments: that are exchanged one after another, several at once; 1: one at a time.
    package static func run(
        _ options: WorkerOptions, elements: Int, repeats: Int, fragments: Int,
        interrupt: Interrupt, log: @escaping (String) -> Void
    ) throws -> ExchangeResult {
        let counters = LaneCounters()
        let clock = ExchangeClock(
            warmup: warmup, repeats: repeats, fragments: fragments, counters: counters,
            pool: options.pool)
        let verdict = Mutex<(digest: UInt64, error: Float)?>(nil)
        var options = options
        options.counters = counters
        options.storesChunks = true
        options.makeTrainer = { setup in
            ExchangeTrainer(
                elements: elements, seat: Int(setup.worker.rawValue), fragments: fragments,
                begin: { clock.begin($0) }, end: { clock.end($0) })
        }
        options.atEnd = { trainer, setup in
            guard let trainer = trainer as? ExchangeTrainer else { return }
            var digest = Digest64()
            trainer.withState(.parameters, range: 0..<elements) { digest.update($0) }
            let found = (digest.value, trainer.error(seats: setup.seats))
            verdict.withLock { $0 = found }
        }
        // A thread of its own, so that it does not wait for the exchanges it watches.
        Thread.detachNewThread {
            while clock.mark() { Pause.nanoseconds(50_000_000) }
        }
        defer { clock.stopMarking() }
        let outcome = try WorkerNode(options, interrupt: interrupt, log: log).run()
        guard outcome.code == .ok else { throw NodeError(outcome.code, outcome.reason) }
        guard let found = verdict.withLock({ $0 }),
            let result = clock.result(digest: found.digest, error: found.error)
        else { throw NodeError(.unavailable, "the run ended before an exchange was measured") }
        return result
    }
}
