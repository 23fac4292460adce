package import ClusterModel
package import Coordination
package import WireProtocol

/// Bytes of a chunk, with the names of what made them.
package struct EncodedBytes: Equatable, Sendable {
    package var bytes: [UInt8]
    package var transform: TransformID
    package var stage: StageID
    package init(_ bytes: [UInt8], transform: TransformID, stage: StageID) {
        self.bytes = bytes
        self.transform = transform
        self.stage = stage
    }
}

/// What a hosted trainer answers to an order; the simulator puts the bytes into the worker's pool.
package enum HostedAnswer: Sendable {
    case event(Worker.TrainerEvent)
    case encoded(
        key: CollectiveKey, epoch: Epoch, slice: Int, position: Int, elements: UInt32, EncodedBytes)
    case stateRead(to: WorkerID, StateChunk, EncodedBytes)
    case tokens(to: WorkerID, Epoch, Tokens, EncodedBytes?)
    case report(RunEvent)
    /// The worker leaves with this reason.
    case failed(String)
}

/// A trainer that really computes, for a run whose clock is modelled: the simulator decides when an
/// order has ended, the host what comes out of it.
///
/// Between `begin` and `finish` the work may go on beside the simulator; its result must not depend on
/// when it is done.
package protocol HostedTrainer: AnyObject {
    /// Starts an order. `payloads` are the bytes it refers to: the means of an absorption in order,
    /// or the piece of a peer's state. `plan`: of a step that may need tokens of others.
    func begin(_ order: TrainerOrder, plan: ActivePlan?, payloads: [EncodedBytes])
    /// The answers to the order begun last since it began or went on, in order; waits until it has ended or
    /// waits for tokens of others itself.
    func finish() -> [HostedAnswer]
    /// After ``finish()``: the tokens it waits for; nil: the order has ended.
    var awaited: AwaitedTokens? { get }
    /// All rows that it waits for: it goes on, until ``finish()``.
    func resume(_ rows: [(from: WorkerID, Tokens, EncodedBytes?)])
    /// They do not come, since the plan is over: it goes on and gives the step up.
    func interrupt()
}

/// Which half of an exchange a trainer waits for.
package struct AwaitedTokens: Equatable, Sendable {
    package var exchange: UInt32
    package var kind: Tokens.Kind
    package init(exchange: UInt32, kind: Tokens.Kind) {
        self.exchange = exchange
        self.kind = kind
    }
}

/// Makes trainers and means for a run with real arithmetic.
package protocol TrainerHost: AnyObject {
    func makeTrainer(seat: WorkerID) -> any HostedTrainer
    /// The weighted mean of `sources`, in their order, encoded by `transform` for `owner` to send; what its
    /// region makes of its parts, if it is a `contribution`.
    func mean(
        _ sources: [(bytes: EncodedBytes, weight: UInt64)], elements: Int, transform: TransformID,
        scope: CollectiveKey.Scope, contribution: RegionContribution?, owner: WorkerID
    ) -> Result<EncodedBytes, HostFailure>
}

/// Why a mean could not be made: the owner leaves with this reason.
package struct HostFailure: Error, Equatable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
}
