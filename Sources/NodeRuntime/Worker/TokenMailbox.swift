package import ClusterModel
import Coordination
import Foundation
import Synchronization
package import WireProtocol

/// Who exchanges tokens under a plan: the members of one region, in the order of ranks.
package struct TokenGroup: Equatable, Sendable {
    package var epoch: Epoch
    package var members: [WorkerID]
    /// Index of this worker.
    package var me: Int

    package init(epoch: Epoch, members: [WorkerID], me: Int) {
        self.epoch = epoch
        self.members = members
        self.me = me
    }
}

/// Tokens between the loop thread, which takes them off the lanes, and the trainer's, which waits for
/// them.
///
/// It holds what peers have sent ahead: at most the answers and the next dispatch of each, since nobody
/// begins an exchange without all answers of the one before; the lanes' credit bounds the bytes.
package final class TokenMailbox: Sendable {
    package struct Arrival: Sendable {
        package var from: WorkerID
        package var tokens: Tokens
        package var bytes: PayloadBytes?
        package var handle: PayloadHandle?

        package init(
            from: WorkerID, tokens: Tokens, bytes: PayloadBytes?, handle: PayloadHandle?
        ) {
            self.from = from
            self.tokens = tokens
            self.bytes = bytes
            self.handle = handle
        }
    }

    /// For whom the trainer waits, and since when.
    package struct Wait: Equatable, Sendable {
        package var step: UInt32
        package var exchange: UInt32
        package var members: [WorkerID]
        package var since: Int64
    }

    fileprivate struct State {
        /// Nil: nobody may wait.
        var epoch: Epoch?
        var arrivals: [Arrival] = []
        var wait: Wait?
        var seed: UInt64?
    }
    private let state: Mutex<State>
    private let changed = DispatchSemaphore(value: 0)

    /// - Parameter shuffled: hands arrivals on in an order of this seed instead of their own; for tests of
    ///   what must not depend on it.
    package init(shuffled seed: UInt64? = nil) { state = Mutex(State(seed: seed)) }

    // MARK: The loop thread

    /// Under which plan tokens come from now on. Returns the payloads of those that came under another.
    package func open(_ epoch: Epoch?) -> [PayloadHandle] {
        let (isNew, handles) = state.withLock { state in
            guard state.epoch != epoch else { return (false, [PayloadHandle]()) }
            state.epoch = epoch
            defer { state.arrivals = [] }
            return (true, state.arrivals.compactMap(\.handle))
        }
        if isNew { changed.signal() }
        return handles
    }

    /// Ends every wait for good.
    package func close() { _ = open(nil) }

    package func shuffle(_ seed: UInt64?) { state.withLock { $0.seed = seed } }

    /// False if nobody waits under the plan of `epoch`.
    package func deliver(_ arrival: Arrival, _ epoch: Epoch) -> Bool {
        let place = state.withLock { state -> Int? in
            guard state.epoch == epoch else { return nil }
            state.arrivals.append(arrival)
            return state.arrivals.count
        }
        // Whoever is woken for the first takes the rest with it.
        if place == 1 { changed.signal() }
        return place != nil
    }

    package var wait: Wait? { state.withLock(\.wait) }

    // MARK: The trainer's thread

    /// All that has come; waits while there is nothing. Nil: the plan of `epoch` is over.
    package func take(_ epoch: Epoch) -> [Arrival]? {
        while true {
            let taken = state.withLock { state -> [Arrival]?? in
                guard state.epoch == epoch else { return .some(nil) }
                guard !state.arrivals.isEmpty else { return .none }
                defer { state.arrivals = [] }
                return state.shuffledArrivals()
            }
            if let taken { return taken }
            changed.wait()
        }
    }

    package func waits(_ wait: Wait?) { state.withLock { $0.wait = wait } }
}

extension TokenMailbox.State {
    fileprivate mutating func shuffledArrivals() -> [TokenMailbox.Arrival] {
        guard let seed else { return arrivals }
        var generator = SeededGenerator(seed: seed)
        self.seed = generator.next()
        var order = arrivals
        for index in order.indices.dropFirst().reversed() {
            order.swapAt(index, Int(generator.next() % UInt64(index + 1)))
        }
        return order
    }
}
