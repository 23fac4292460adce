package import ClusterModel
import Foundation
import Synchronization
package import WireProtocol

/// Tokens between the loop thread, which takes them off the lanes, and the trainer's, which waits for
/// them.
///
/// It holds what peers have sent ahead: at most the answers and the next dispatch of each, since nobody
/// begins an exchange without all answers of the one before. The lanes' credit bounds the bytes, because a
/// frame's goes back to its sender only when the trainer has read it, and ``arrivalsPerPeer`` the number:
/// frames without rows cost no credit.
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

    /// Frames that a peer may have here unread. Frames that are full have 32 KiB or more, so an honest peer's
    /// are fewer, even where a lane's window is the largest.
    package static let arrivalsPerPeer = 4_096

    package enum Delivery: Equatable, Sendable {
        case kept
        /// Nobody waits under that plan.
        case unwanted
        /// The peer has more here than an honest one can have.
        case tooMany
    }

    /// The dispatches of one exchange, or their answers.
    package struct Half: Equatable, Sendable {
        package var step: UInt32
        package var exchange: UInt32
        package var kind: Tokens.Kind

        package init(step: UInt32, exchange: UInt32, kind: Tokens.Kind) {
            self.step = step
            self.exchange = exchange
            self.kind = kind
        }

        fileprivate init(_ tokens: Tokens) {
            self.init(step: tokens.step, exchange: tokens.exchange, kind: tokens.kind)
        }
    }

    /// For whom the trainer waits, and since when.
    package struct Wait: Equatable, Sendable {
        package var step: UInt32
        package var exchange: UInt32
        package var kind: Tokens.Kind
        package var members: [WorkerID]
        package var since: Int64
    }

    fileprivate struct State {
        /// Nil: nobody may wait.
        var epoch: Epoch?
        var arrivals: [Arrival] = []
        /// How many of the arrivals are each peer's. Asked, never iterated.
        var held: [WorkerID: Int] = [:]
        /// The trainer sleeps until something comes.
        var isAwaited = false
        var wait: Wait?
        var seed: UInt64?
    }
    private let state: Mutex<State>
    private let changed = DispatchSemaphore(value: 0)
    private let sleeps: (@Sendable () -> Void)?
    private let wakes: (@Sendable () -> Void)?

    /// - Parameters:
    ///   - shuffled: hands arrivals on in an order of this seed instead of their own; for tests of what
    ///     must not depend on it.
    ///   - sleeps: called by the trainer's thread before it waits.
    ///   - wakes: called by it before it goes on.
    package init(
        shuffled seed: UInt64? = nil, sleeps: (@Sendable () -> Void)? = nil,
        wakes: (@Sendable () -> Void)? = nil
    ) {
        state = Mutex(State(seed: seed))
        self.sleeps = sleeps
        self.wakes = wakes
    }

    // MARK: The loop thread

    /// Under which plan tokens come from now on. Returns the payloads of those that came under another.
    package func open(_ epoch: Epoch?) -> [PayloadHandle] {
        let (wakes, handles) = state.withLock { state -> (Bool, [PayloadHandle]) in
            guard state.epoch != epoch else { return (false, []) }
            state.epoch = epoch
            let handles = state.arrivals.compactMap(\.handle)
            state.arrivals = []
            state.held = [:]
            return (state.wakes(), handles)
        }
        if wakes { changed.signal() }
        return handles
    }

    /// Ends every wait for good.
    package func close() { _ = open(nil) }

    package func shuffle(_ seed: UInt64?) { state.withLock { $0.seed = seed } }

    /// Keeps it for the trainer if its plan is the one of `epoch`, unless there are too many of that peer.
    package func deliver(_ arrival: Arrival, _ epoch: Epoch) -> Delivery {
        let (delivery, wakes) = state.withLock { state -> (Delivery, Bool) in
            guard state.epoch == epoch else { return (.unwanted, false) }
            let count = state.held[arrival.from] ?? 0
            guard count < Self.arrivalsPerPeer else { return (.tooMany, false) }
            state.held[arrival.from] = count + 1
            state.arrivals.append(arrival)
            return (.kept, state.wakes())
        }
        if wakes { changed.signal() }
        return delivery
    }

    /// Under which plan tokens may come.
    var epoch: Epoch? { state.withLock(\.epoch) }

    package var wait: Wait? { state.withLock(\.wait) }

    // MARK: The trainer's thread

    /// All that has come of `half`; waits while there is nothing. What is ahead of it stays here. Nil: the
    /// plan of `epoch` is over.
    package func take(_ epoch: Epoch, _ half: Half) -> [Arrival]? {
        while true {
            let taken = state.withLock { state -> [Arrival]?? in
                guard state.epoch == epoch else { return .some(nil) }
                let found = state.remove(half)
                guard found.isEmpty else { return found }
                state.isAwaited = true
                return .none
            }
            if let taken { return taken }
            sleeps?()
            changed.wait()
            wakes?()
        }
    }

    package func waits(_ wait: Wait?) { state.withLock { $0.wait = wait } }
}

extension TokenMailbox.State {
    /// True if the trainer has to be woken: once for each time it falls asleep.
    fileprivate mutating func wakes() -> Bool {
        defer { isAwaited = false }
        return isAwaited
    }

    fileprivate mutating func remove(_ half: TokenMailbox.Half) -> [TokenMailbox.Arrival] {
        let found = arrivals.filter { TokenMailbox.Half($0.tokens) == half }
        guard !found.isEmpty else { return [] }
        arrivals.removeAll { TokenMailbox.Half($0.tokens) == half }
        for arrival in found { held[arrival.from, default: 0] -= 1 }
        return shuffled(found)
    }

    private mutating func shuffled(_ found: [TokenMailbox.Arrival]) -> [TokenMailbox.Arrival] {
        guard let seed else { return found }
        var generator = SeededGenerator(seed: seed)
        self.seed = generator.next()
        var order = found
        for index in order.indices.dropFirst().reversed() {
            order.swapAt(index, Int(generator.next() % UInt64(index + 1)))
        }
        return order
    }
}
