package import ClusterModel
package import WireProtocol

/// What a worker's machine wants its trainer thread to do. Orders are carried out in the order given;
/// each is answered by one event (an `encode` by one per chunk).
package enum TrainerOrder: Codable, Equatable, Sendable {
    /// Forward and backward over samples of the run's order; the gradient stays in the trainer.
    /// Answered by `.computed`.
    case compute(step: UInt32, samples: Range<UInt64>)
    /// Encode chunks of a contribution. Answered by `.encoded` for each chunk.
    case encode(Encoding)
    /// Decode the mean into place and step. Answered by `.absorbed`.
    case absorb(Absorption)
    /// Loss on the validation split. Answered by `.evaluated`.
    case evaluate(step: UInt32)
    /// Write the state a resumed run starts from. Answered by `.checkpointed`.
    case checkpoint(step: UInt32, round: UInt32)
    /// The last order before leaving. `model`: also write the model file. Answered by `.saved`.
    case save(step: UInt32, round: UInt32, model: Bool)
    /// Encode a piece of the state for a joiner, or describe an item. Answered by `.stateRead`.
    case readState(StateRequest, to: WorkerID)
    /// Put a piece of a peer's state into place. Answered by `.consumed`.
    case installState(StateChunk, payload: PayloadHandle)
    /// All pieces are in place: compare the digests and go on from there. Answered by `.tookOver`.
    case takeOver(Handover)

    /// A state whose pieces are installed, as the peer it comes from describes it.
    package struct Handover: Codable, Equatable, Sendable {
        package struct Item: Codable, Equatable, Sendable {
            package var item: StateItem
            package var digest: UInt64
        }
        /// The plan under which it is taken over.
        package var planVersion: UInt32
        package var step: UInt32
        package var round: UInt32
        /// Of outer copy and momentum, or of the parameters: as in a report.
        package var digest: UInt64
        package var items: [Item]
        /// The live parameters, which are not among the items, become the outer copy.
        package var beginsFromOuterCopy = false
        /// In the answer: live parameters and outer copy differ. Nil where nobody has looked.
        package var hasRest: Bool?
    }

    /// Chunks of one collective to encode, slice by slice; none where values are only kept.
    package struct Encoding: Codable, Equatable, Sendable {
        package var key: CollectiveKey
        /// The collective whose mean follows: `key`, unless a region's members have parts of what the region
        /// contributes.
        package var round: CollectiveKey
        package var epoch: Epoch
        package var source: Source
        /// Before anything is encoded: keep the outer gradient of the whole fragment as it is now, for
        /// this encoding and for a later one that must contribute the same values again.
        package var keeps: Bool
        package var transform: TransformID
        package var chunks: [Chunk]
        /// Of the same slices, what this round passes over: withheld values wait there.
        package var absent: [Chunk]
        /// Of these, what another region alone contributes: withheld values are dropped there.
        package var elsewhere: [Chunk]
        /// Ranges of the parameter vector that the collective's elements are laid out from.
        package var fragment: [ElementRange]
        package init(
            key: CollectiveKey, round: CollectiveKey? = nil, epoch: Epoch, source: Source,
            keeps: Bool = false, transform: TransformID, chunks: [Chunk], absent: [Chunk] = [],
            elsewhere: [Chunk] = [], fragment: [ElementRange]
        ) {
            self.key = key
            self.round = round ?? key
            self.epoch = epoch
            self.source = source
            self.keeps = keeps
            self.transform = transform
            self.chunks = chunks
            self.absent = absent
            self.elsewhere = elsewhere
            self.fragment = fragment
        }
    }

    package enum Source: String, Codable, Sendable {
        /// The gradient in the trainer's buffer.
        case gradient
        /// Outer copy minus live parameters ("start minus now").
        case outerGradient
        /// The outer gradient that was kept when the fragment left; further steps may have been taken since.
        case keptOuterGradient
        /// The outer gradient that was kept to be offered, in a place where no mean is written.
        case offeredOuterGradient
    }

    package struct Chunk: Codable, Equatable, Sendable {
        package var slice: Int
        package var position: Int
        package var range: Range<UInt64>
        package init(slice: Int, position: Int, range: Range<UInt64>) {
            self.slice = slice
            self.position = position
            self.range = range
        }
    }

    package struct MeanChunk: Codable, Equatable, Sendable {
        package var range: Range<UInt64>
        package var payload: EncodedPayload
    }

    package struct Absorption: Codable, Equatable, Sendable {
        package var key: CollectiveKey
        package var step: UInt32
        /// Turns applied once this is done.
        package var turn: UInt32
        package var target: Target
        /// Share of the live parameters that remains in an outer step.
        package var blend: Float
        /// What remains instead where replicas do not wait for means.
        package var carried: Carried?
        package var fragment: [ElementRange]
        /// Empty: the values are in place already (a replica of one). An outer step is taken on what they
        /// cover; experts may be left out.
        package var means: [MeanChunk]
        package init(
            key: CollectiveKey, step: UInt32, turn: UInt32, target: Target, blend: Float,
            carried: Carried?, fragment: [ElementRange], means: [MeanChunk]
        ) {
            self.key = key
            self.step = step
            self.turn = turn
            self.target = target
            self.blend = blend
            self.carried = carried
            self.fragment = fragment
            self.means = means
        }
    }

    /// Which local steps the live parameters keep when the outer copy moves under them.
    package enum Carried: String, Codable, Sendable {
        /// All that they differ by from the outer copy: none of it is in the mean.
        case everything
        /// Those since the offer was kept: what was offered is in the mean.
        case sinceOffer
    }

    /// What happens with the decoded mean.
    package enum Target: String, Codable, Sendable {
        /// Replaces the gradient; the inner optimiser steps on it.
        case optimiserStep
        /// As `optimiserStep`, and the result is a committed state: answer with its digest.
        case pooledOptimiserStep
        /// The outer optimiser steps on it; live parameters become
        /// blend x live + (1 - blend) x outer copy, or move with it (``Absorption/carried``).
        case outerStep

        /// Whether the step ends a round that is reported to the coordinator.
        package var endsRound: Bool {
            switch self {
            case .optimiserStep: false
            case .pooledOptimiserStep, .outerStep: true
            }
        }
    }
}

extension TrainerOrder.Handover {
    /// Recordings older than `beginsFromOuterCopy` have no such field.
    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        planVersion = try fields.decode(UInt32.self, forKey: .planVersion)
        step = try fields.decode(UInt32.self, forKey: .step)
        round = try fields.decode(UInt32.self, forKey: .round)
        digest = try fields.decode(UInt64.self, forKey: .digest)
        items = try fields.decode([Item].self, forKey: .items)
        beginsFromOuterCopy =
            try fields.decodeIfPresent(Bool.self, forKey: .beginsFromOuterCopy) ?? false
        hasRest = try fields.decodeIfPresent(Bool.self, forKey: .hasRest)
    }
}

extension TrainerOrder.Encoding {
    /// Recordings older than `round` have no such field: what was encoded was what the mean was of. Older
    /// ones than `elsewhere` have none of these.
    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            key: try fields.decode(CollectiveKey.self, forKey: .key),
            round: try fields.decodeIfPresent(CollectiveKey.self, forKey: .round),
            epoch: try fields.decode(Epoch.self, forKey: .epoch),
            source: try fields.decode(TrainerOrder.Source.self, forKey: .source),
            keeps: try fields.decode(Bool.self, forKey: .keeps),
            transform: try fields.decode(TransformID.self, forKey: .transform),
            chunks: try fields.decode([TrainerOrder.Chunk].self, forKey: .chunks),
            absent: try fields.decode([TrainerOrder.Chunk].self, forKey: .absent),
            elsewhere: try fields.decodeIfPresent(
                [TrainerOrder.Chunk].self, forKey: .elsewhere) ?? [],
            fragment: try fields.decode([ElementRange].self, forKey: .fragment))
    }
}
