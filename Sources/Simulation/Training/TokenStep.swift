package import ClusterModel
import Coordination
package import WireProtocol

/// Rows of a frame on their way to a peer, or from one.
package struct TokenParcel {
    package var peer: WorkerID
    package var tokens: Tokens
    /// Nil: no rows.
    package var content: PayloadPool.Content?

    package init(peer: WorkerID, tokens: Tokens, content: PayloadPool.Content?) {
        self.peer = peer
        self.tokens = tokens
        self.content = content
    }
}

/// Rows that have come; `handle` until the trainer has read them.
struct TokenArrival {
    var parcel: TokenParcel
    var handle: PayloadHandle?
}

/// A trainer's step that exchanges tokens with other members, while it is computed: two exchanges a layer and
/// pass, each of a dispatch and an answer (Protocols/longhaul-1.md, sections 6.4 and 7.10). Computing takes
/// equal times before, between and after these halves.
struct TokenStep {
    let step: UInt32
    let plan: ActivePlan
    /// Who exchanges tokens, in rank order: all members of the plan, or those of a region that share its
    /// experts out.
    let members: [WorkerID]
    let me: Int
    /// Nanoseconds of computing between two halves.
    let segment: Int64
    /// Of the step, over all members' passes.
    let halves: Int
    /// The half that is next, or that is waited for.
    private(set) var half = 0
    /// What a hosted trainer waits for, which knows best.
    var awaited: AwaitedTokens?
    /// Since when; nil while it computes.
    var waitsSince: Int64?
    /// The plan is over: what is waited for does not come.
    var isGivenUp = false

    private let layers: Int
    private let passes: Int
    private let tokens: Int
    private let topK: Int
    private let width: Int
    private let transform: TransformID
    private let isModelled: Bool
    /// By layer of an own pass and by member: rows that go there; with a host it decides.
    private let leaving: [[Int]]
    /// By layer of a pass and by member: rows that have come from there.
    private var coming: [[Int]]

    /// Width of a row where tensors are small and real.
    private static let smallWidth = 4

    /// - Parameters:
    ///   - routed: nil where a host routes its tokens itself.
    ///   - time: of computing, whole.
    init?(
        step: UInt32, plan: ActivePlan, model: RunConfiguration.Model, routed: RoutedStep?,
        isModelled: Bool, time: Int64
    ) {
        let group = plan.plan.members.filter {
            plan.crossesTokens || ($0.region == plan.me.region && plan.spreadsExperts)
        }
        guard group.count > 1, let experts = model.experts else { return nil }
        self.step = step
        self.plan = plan
        self.isModelled = isModelled
        members = group.map(\.workerID)
        me = group.firstIndex { $0.rank == plan.rank } ?? 0
        layers = plan.plan.experts.count
        passes = RoutedStep.passes(Int(plan.me.microBatch), model)
        let most =
            group.map { RoutedStep.passes(Int($0.microBatch), model) }.max() ?? 1
        // Where experts are kept by their holders, members say norms besides.
        halves = 4 * layers * most + (plan.keepsExperts ? 1 : 0)
        segment = time / Int64(halves + 1)
        tokens = Int(plan.me.microBatch) * model.context
        topK = experts.topK
        width = isModelled ? model.width : Self.smallWidth
        transform = isModelled ? experts.tokenWire : .fp32
        coming = Array(
            repeating: Array(repeating: 0, count: members.count), count: layers * most)
        let servers = plan.plan.members.map { plan.tokenServer(in: $0.region) }
        leaving = (routed?.leaving ?? []).map { part in
            plan.plan.members.map { member in
                servers[member.rank.index] == member.rank && member.region != plan.me.region
                    ? part[member.region.index] : 0
            }
        }
    }

    var exchange: UInt32 { awaited?.exchange ?? UInt32(half / 2) }
    var kind: Tokens.Kind { awaited?.kind ?? (isAnswer ? .combine : .dispatch) }
    private var isAnswer: Bool { half % 2 == 1 }
    var isComputed: Bool { half >= halves }

    private var isBackward: Bool { half / 2 % (2 * layers) >= layers }

    /// Which layer of which pass the exchange is of.
    private var part: Int {
        let (pass, place) = (half / 2 / (2 * layers), half / 2 % (2 * layers))
        return pass * layers + (isBackward ? 2 * layers - 1 - place : place)
    }

    func isOf(_ tokens: Tokens) -> Bool {
        tokens.step == step && tokens.exchange == exchange
            && tokens.kind == kind
    }

    /// What leaves in this half, to the member after this one first.
    func parcels() -> [TokenParcel] {
        (1..<members.count).flatMap { parcels(to: (me + $0) % members.count) }
    }

    private func parcels(to member: Int) -> [TokenParcel] {
        let rows =
            isAnswer ? coming[part][member] : part < leaving.count ? leaving[part][member] : 0
        let words =
            switch (isBackward, isAnswer) {
            case (false, false): 2 * topK
            case (true, true): topK
            case (false, true), (true, false): 0
            }
        let perFrame = Tokens.rowsPerFrame(transform, width: width, words: words)
        return stride(from: 0, to: max(1, rows), by: perFrame).map { first in
            let count = min(perFrame, rows - first)
            return TokenParcel(
                peer: members[member],
                tokens: Tokens(
                    step: step, exchange: exchange, kind: kind,
                    transform: transform, width: UInt16(width), words: UInt16(words),
                    passes: UInt16(passes), tokens: UInt32(tokens), first: UInt32(first),
                    rows: UInt32(count), total: UInt32(rows)),
                content: count > 0 ? content(rows: count, first: first, words: words) : nil)
        }
    }

    private func content(rows: Int, first: Int, words: Int) -> PayloadPool.Content {
        if isModelled {
            return .modelled(
                bytes: Tokens.payloadBytes(transform, rows: rows, width: width, words: words))
        }
        let start = 31 * Int(step) + 7 * half + 5 * me + 3 * first
        return .values((0..<rows * (words + width)).map { Float((start + $0) % 64) / 64 })
    }

    /// Whether all rows of this half that `member` has announced are among `arrivals`.
    func isWhole(_ member: Int, _ arrivals: [TokenArrival]) -> Bool {
        let own = arrivals.filter { $0.parcel.peer == members[member] && isOf($0.parcel.tokens) }
        guard let first = own.first else { return false }
        return own.reduce(0) { $0 + $1.parcel.tokens.rows } == first.parcel.tokens.total
    }

    /// Everybody else's rows of this half are here.
    mutating func pass(_ arrivals: [TokenArrival]) {
        if awaited == nil, !isAnswer, !isBackward {
            for member in members.indices where member != me {
                coming[part][member] = arrivals.reduce(0) {
                    $0 + ($1.parcel.peer == members[member] ? Int($1.parcel.tokens.rows) : 0)
                }
            }
        }
        half += 1
        waitsSince = nil
    }

    /// Whom it waits for.
    func missing(_ arrivals: [TokenArrival]) -> [WorkerID] {
        members.indices.filter { $0 != me && !isWhole($0, arrivals) }.map { members[$0] }
    }
}
