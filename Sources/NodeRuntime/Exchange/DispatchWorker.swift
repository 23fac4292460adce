package import ClusterModel
import Compression
import Synchronization
package import Training
import ZeroMQ

/// A worker of `longhaul bench dispatch`: the shipped worker with a trainer whose steps are tokens on their
/// way to experts and back.
package enum DispatchWorker {
    /// Exchanges before the first one that counts.
    package static let warmup = 4
    /// Parameters whose mean ends a step: enough for one chunk each.
    package static let elements = 64

    /// What is asked of it.
    package struct Request: Sendable {
        package var shape: DispatchRun.Shape
        package var transform: TransformID
        package var repeats: Int
        /// Frames reach the trainer in an order of this seed instead of their own.
        package var order: UInt64?
        package init(
            shape: DispatchRun.Shape, transform: TransformID, repeats: Int, order: UInt64?
        ) {
            self.shape = shape
            self.transform = transform
            self.repeats = repeats
            self.order = order
        }
    }

    package struct Result: Codable, Sendable {
        package var exchange: ExchangeResult
        /// By member: rows that left for its experts in one exchange.
        package var rowsAway: [Int]
        /// Choices of experts elsewhere.
        package var choicesAway: Int
        /// Payload of tokens this worker sent, both ways, per exchange.
        package var tokenBytes: Double
    }

    /// Takes part until the run ends.
    package static func run(
        _ options: WorkerOptions, _ request: Request, interrupt: Interrupt,
        log: @escaping (String) -> Void
    ) throws -> Result {
        let counters = LaneCounters()
        let clock = ExchangeClock(
            warmup: warmup, repeats: request.repeats, counters: counters, pool: options.pool)
        let verdict = Mutex<(digest: UInt64, error: Float, rows: [Int], choices: Int)?>(nil)
        var options = options
        options.counters = counters
        options.storesChunks = true
        options.tokenTransform = request.transform
        options.tokenOrder = request.order
        options.makeTrainer = { setup in
            let seat = Int(setup.worker.rawValue)
            let run = DispatchRun(request.shape, seat: seat, seats: setup.seats)
            var left = warmup + request.repeats
            return ExchangeTrainer(
                elements: elements, seat: seat, begin: { _ in }, end: { _ in },
                work: { members throws(TokensInterrupted) in
                    try run.exchange(
                        members, begin: { clock.begin() }, end: { clock.end() })
                    left -= 1
                    guard left == 0 else { return }
                    let digest = run.withResult { values in
                        var digest = Digest64()
                        digest.update(values)
                        return digest.value
                    }
                    let found = (
                        digest, run.error, run.rowsAway(from: members.me),
                        run.choicesAway(from: members.me)
                    )
                    verdict.withLock { $0 = found }
                })
        }
        options.atEnd = { _, _ in }
        let outcome = try WorkerNode(options, interrupt: interrupt, log: log).run()
        guard outcome.code == .ok else { throw NodeError(outcome.code, outcome.reason) }
        guard let found = verdict.withLock({ $0 }),
            let result = clock.result(digest: found.digest, error: found.error)
        else { throw NodeError(.unavailable, "the run ended before an exchange was measured") }
        let tokenBytes = Double(counters.reading.tokenBytes) / Double(warmup + request.repeats)
        return Result(
            exchange: result, rowsAway: found.rows, choicesAway: found.choices,
            tokenBytes: tokenBytes)
    }
}
