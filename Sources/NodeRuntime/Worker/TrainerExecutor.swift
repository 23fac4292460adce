package import ClusterModel
import Compression
package import Coordination
package import Training
package import WireProtocol
import ZeroMQ

/// An order with the bytes it refers to.
enum TrainerTask: Sendable {
    case order(TrainerOrder)
    /// With the members of the region under the plan in force.
    case compute(step: UInt32, samples: Range<UInt64>, TokenGroup)
    /// `ownSlices` stay here: where the values may be lent, their chunks are not copied.
    case encode(TrainerOrder.Encoding, ownSlices: [Int])
    /// `place` has the means already that say so.
    case absorb(TrainerOrder.Absorption, [PayloadBytes], place: SharedFloats?)
    case install(StateChunk, PayloadBytes, PayloadHandle)
}

/// What the trainer thread hands back to the loop thread.
package enum TrainerOutput: Sendable {
    case event(Worker.TrainerEvent)
    case encoded(CollectiveKey, Epoch, TrainerOrder.Chunk, PayloadBytes)
    /// Where the gradient of the event that follows lies, if the trainer lends it.
    case gradient(SharedFloats?)
    case stateRead(to: WorkerID, StateChunk, PayloadBytes)
    case tokens(to: WorkerID, Epoch, Tokens, PayloadBytes?)
    /// Bytes that do not decode although their frame's checksum was right.
    case failed(String)
    case report(RunEvent)
    /// Of the trainer's own contributions; those of a region are reduced elsewhere.
    case codecUse(TensorClassTally)
}

/// Carries out orders on the trainer thread, in order, with one trainer.
final class TrainerExecutor {
    let trainer: any Trainer
    let setup: TrainerSetup
    let account: TimeAccount
    let emit: (TrainerOutput) -> Void
    let encoder = ChunkEncoder()
    let decoder = ChunkDecoder()
    let pool: FramePool
    /// What comes for this trainer from others of its region.
    let mailbox: TokenMailbox
    private let tokenCodec: TokenCodec
    private var spreadText: SpreadText
    /// Samples drawn so far, and those of the step computed last, which may be computed again.
    private var drawn: UInt64
    private var drawnByStep: (step: UInt32, samples: UInt64) = (0, 0)
    private var gathered: [Float] = []
    private var classes: TensorClassTally
    private var residues = SliceResidues()
    private var hasNamedKernels = false
    private let countsExperts: Bool
    private var crossed = CrossedTokens()
    /// As the trainer itself knows them: what a saved state says.
    var step: UInt32
    var round: UInt32
    /// Of the state as it stands, by item; computed when a peer asks, void when the state moves.
    var itemDigests: [StateItem: UInt64] = [:]
    /// Replaces writing state and model at the end.
    var atEnd: ((any Trainer, TrainerSetup) -> Void)?

    init(
        trainer: any Trainer, setup: TrainerSetup, restored: RestoredState?, account: TimeAccount,
        pool: FramePool = FramePool(), mailbox: TokenMailbox = TokenMailbox(),
        emit: @escaping (TrainerOutput) -> Void
    ) {
        self.mailbox = mailbox
        tokenCodec = TokenCodec(pool)
        spreadText = SpreadText(names: setup.workerNames)
        self.trainer = trainer
        self.setup = setup
        self.account = account
        self.pool = pool
        self.emit = emit
        classes = TensorClassTally(tensors: trainer.tensors)
        countsExperts = !setup.configuration.expertBlocks(
            elements: UInt64(trainer.parameterCount)
        ).isEmpty
        if let held = restored?.held { trainer.heldExperts = held }
        step = restored?.step ?? 0
        round = restored?.round ?? 0
        drawn = restored?.samples ?? 0
    }

    func run(_ task: TrainerTask) {
        if task.movesState { itemDigests = [:] }
        switch task {
        case .order(.compute(let step, let samples)): compute(step, samples, nil)
        case .compute(let step, let samples, let group): compute(step, samples, group)
        case .order(.encode(let encoding)): encode(encoding, ownSlices: [])
        case .encode(let encoding, let ownSlices): encode(encoding, ownSlices: ownSlices)
        case .absorb(let absorption, let means, let place): absorb(absorption, means, place)
        case .order(.evaluate(let step)): evaluate(step)
        case .order(.checkpoint(let step, let round)): checkpoint(step, round)
        case .order(.save(_, _, let model)): save(model: model)
        case .order(.readState(let request, let peer)): readState(request, peer)
        case .install(let chunk, let bytes, let handle): install(chunk, bytes, handle)
        case .order(.takeOver(let handover)): takeOver(handover)
        case .order(.absorb), .order(.installState):
            preconditionFailure("orders with payloads come with their bytes")
        }
        account.enter(.idle)
    }

    private func compute(_ step: UInt32, _ samples: Range<UInt64>, _ group: TokenGroup?) {
        nameKernels()
        account.enter(.compute)
        let began = MonotonicClock.now()
        trainer.adoptGradient(nil)
        guard let (result, waited) = gradient(step, Array(samples), group) else {
            return emit(.event(.interrupted(step: step)))
        }
        if drawnByStep.step == step { drawn -= drawnByStep.samples }
        drawnByStep = (step, UInt64(samples.count))
        drawn += UInt64(samples.count)
        let nominal = setup.nominalStep(samples: samples.count).nanoseconds
        // A slower machine would have waited besides.
        let left = began + waited + nominal - MonotonicClock.now()
        if nominal > 0, left > 0 {
            Pause.nanoseconds(left)
            account.addPaced(left)
        }
        emit(.gradient(trainer.gradientPlace))
        emit(
            .event(
                .computed(
                    step: step, loss: Double(result.loss), tokens: UInt64(result.tokens),
                    samples: drawn,
                    elapsed: Interval(nanoseconds: MonotonicClock.now() - began - waited))))
    }

    /// And how long it waited for others, which says nothing of this worker's speed. Nil if it was given up.
    private func gradient(
        _ step: UInt32, _ samples: [UInt64], _ group: TokenGroup?
    ) -> (StepResult, waited: Int64)? {
        guard let group, group.members.count > 1 || group.crossing != nil else {
            let result = trainer.computeGradient(samples: samples)
            let moves = trainer.takeSpreadReport()?.moves
            let alone = spreadText.alone(group?.members ?? [], step: step, moves)
            if let text = alone ?? SpreadText.lost(moves, step: step) { say(text) }
            return (result, 0)
        }
        let exchange = TokenExchange(
            step: step, group: group, transform: setup.tokenTransform, mailbox: mailbox,
            codec: tokenCodec, account: account, emit: emit)
        do {
            let result = try trainer.computeGradient(samples: samples, with: exchange)
            if let counts = trainer.takeCrossing() {
                emit(.event(.routed(step: step, wanted: counts.wanted)))
                crossed.note(
                    counts, step, group.crossing,
                    tokens: result.tokens * setup.configuration.model.layers)
            }
            if let report = trainer.takeSpreadReport() { place(report, step, group) }
            return (result, exchange.waited)
        } catch {
            return nil
        }
    }

    private func place(_ report: ExpertSpreadReport, _ step: UInt32, _ group: TokenGroup) {
        let holders = report.holders.flatMap { $0.map { UInt16($0) } }
        emit(.event(.placed(holders: holders, epoch: group.epoch)))
        if let text = spreadText.update(report, members: group.members, step: step), group.me == 0 {
            say(text)
        }
        if let text = SpreadText.lost(report.moves, step: step) { say(text) }
    }

    private func reportCrossing() {
        guard let total = crossed.total else { return }
        emit(.report(.tokensCrossed(worker: setup.worker, total)))
    }

    private func say(_ text: String) {
        emit(.report(.note(source: setup.name, text: text)))
    }

    /// Once, for the record: results do not depend on it, speeds do.
    private func nameKernels() {
        guard !hasNamedKernels else { return }
        hasNamedKernels = true
        emit(.report(.note(source: setup.name, text: "kernels: \(encoder.instructionSet)")))
    }

    private func encode(_ encoding: TrainerOrder.Encoding, ownSlices: [Int]) {
        account.enter(.encode)
        let map = FragmentMap(encoding.fragment)
        let kind = ContributionKind(encoding.source)
        if encoding.keeps { trainer.keepOuterGradient(ranges: map.all, as: kind) }
        encoder.choice = setup.losslessChoice(encoding.key.scope, encoding.transform)
        passOver(encoding)
        let lent = kind == .gradient && encoding.transform == .fp32 ? trainer.gradientPlace : nil
        for chunk in encoding.chunks {
            do {
                let parts = map.parameters(chunk.range)
                if let lent, ownSlices.contains(chunk.slice), parts.count == 1 {
                    emitEncoded(encoding, chunk, PayloadBytes(values: lent, range: parts[0]))
                    continue
                }
                let buffer = pool.takeForContribution()
                let extent =
                    parts.count == 1
                    ? try trainer.withContribution(kind, range: parts[0]) { values in
                        try encode(values, chunk, of: encoding, into: buffer)
                    }
                    : try gather(kind, parts).withSpan { values in
                        try encode(values, chunk, of: encoding, into: buffer)
                    }
                if encoding.key.scope == .pool { classes.add(parts, bytes: extent.byteCount) }
                emitEncoded(
                    encoding, chunk,
                    PayloadBytes(
                        pooled: buffer, count: extent.byteCount, transform: encoding.transform,
                        stage: extent.stage))
            } catch {
                emit(.failed("cannot encode chunk \(chunk) of \(encoding.key): \(error)"))
            }
        }
    }

    private func emitEncoded(
        _ encoding: TrainerOrder.Encoding, _ chunk: TrainerOrder.Chunk, _ bytes: PayloadBytes
    ) {
        emit(.encoded(encoding.key, encoding.epoch, chunk, bytes))
    }

    /// With error feedback where values are lost between regions.
    private func encode(
        _ values: Span<Float>, _ chunk: TrainerOrder.Chunk, of encoding: TrainerOrder.Encoding,
        into buffer: FrameBuffer
    ) throws -> EncodedExtent {
        let bound = ChunkFormat.encodedSizeBound(encoding.transform, elements: values.count)
        let extent = try buffer.withMutablePayload(bound) { output in
            if feedsBack(encoding),
                let extent = try residues.encode(
                    values, chunk: chunk.position,
                    of: encoding.departure(ofSlice: chunk.slice), transform: encoding.transform,
                    with: encoder, into: &output,
                    chunks: { encoding.ranges(ofSlice: chunk.slice) })
            {
                return extent
            }
            return try encoder.encode(values, transform: encoding.transform, into: &output)
        }
        reportLost()
        return extent
    }

    private func reportLost() {
        guard let norm = residues.takeLost() else { return }
        emit(.report(SliceResidues.note(norm, source: setup.name)))
    }

    private func feedsBack(_ encoding: TrainerOrder.Encoding) -> Bool {
        setup.configuration.wire.errorFeedback && encoding.key.scope == .pool
    }

    /// Slices of which nothing is due in this round keep what was withheld from them, except from experts
    /// that another region contributes.
    private func passOver(_ encoding: TrainerOrder.Encoding) {
        guard feedsBack(encoding), !encoding.absent.isEmpty else { return }
        for chunk in encoding.elsewhere {
            residues.handOver(
                chunk.position, of: encoding.departure(ofSlice: chunk.slice), range: chunk.range)
        }
        let slices = Set(encoding.absent.map(\.slice)).subtracting(encoding.chunks.map(\.slice))
        for slice in slices.sorted() {
            residues.passOver(encoding.departure(ofSlice: slice)) {
                encoding.ranges(ofSlice: slice)
            }
        }
        reportLost()
    }

    private func gather(_ kind: ContributionKind, _ parts: [Range<Int>]) -> GatheredValues {
        gathered.removeAll(keepingCapacity: true)
        for part in parts {
            trainer.withContribution(kind, range: part) { values in
                for index in values.indices { gathered.append(values[index]) }
            }
        }
        return GatheredValues(values: gathered)
    }

    private func absorb(
        _ absorption: TrainerOrder.Absorption, _ means: [PayloadBytes], _ place: SharedFloats?
    ) {
        account.enter(.decode)
        let kind: ContributionKind =
            absorption.target == .outerStep ? .outerGradient : .gradient
        let map = FragmentMap(absorption.fragment)
        for (chunk, bytes) in zip(absorption.means, means) where !bytes.isPlaced {
            do {
                try decode(bytes, into: map.parameters(chunk.range), kind, place)
            } catch {
                emit(.failed("cannot decode a mean of \(absorption.key): \(error)"))
                return
            }
        }
        if let place { trainer.adoptGradient(place) }
        account.enter(.apply)
        switch absorption.target {
        case .optimiserStep, .pooledOptimiserStep:
            trainer.optimiserStep()
            step = absorption.step
            reportExpertUse()
        case .outerStep:
            trainer.outerStep(
                ranges: map.parts(absorption.means.map(\.range)),
                optimiser: setup.outerOptimiser, round: absorption.key.round,
                live: LiveUpdate(absorption))
        }
        if absorption.target.endsRound { round = absorption.turn }
        let digest = absorption.target.endsRound ? digest(of: map.all) : 0
        emit(
            .event(
                .absorbed(
                    key: absorption.key, target: absorption.target, digest: digest,
                    experts: absorption.target == .optimiserStep ? expertShares() : [])))
    }

    /// Of the replica's tokens, by expert, layer after layer: what their means between replicas go by.
    private func expertShares() -> [Float] {
        guard countsExperts, let topK = setup.configuration.model.experts?.topK else { return [] }
        return trainer.expertUse.flatMap { use in use.shares.map { $0 * Float(topK) } }
    }

    private func decode(
        _ bytes: PayloadBytes, into parts: [Range<Int>], _ kind: ContributionKind,
        _ place: SharedFloats?
    ) throws(ChunkError) {
        if parts.count == 1 {
            try withDestination(kind, place, parts[0]) { target throws(ChunkError) in
                try bytes.withBytes { encoded throws(ChunkError) in
                    try decoder.decode(
                        encoded, transform: bytes.transform, stage: bytes.stage, into: &target)
                }
            }
            return
        }
        var values = [Float](repeating: 0, count: parts.reduce(0) { $0 + $1.count })
        var target = values.mutableSpan
        try bytes.withBytes { encoded throws(ChunkError) in
            try decoder.decode(
                encoded, transform: bytes.transform, stage: bytes.stage, into: &target)
        }
        var next = 0
        for part in parts {
            withDestination(kind, place, part) { target in
                for index in 0..<target.count { target[index] = values[next + index] }
            }
            next += part.count
        }
    }

    private func withDestination<E: Error>(
        _ kind: ContributionKind, _ place: SharedFloats?, _ part: Range<Int>,
        _ body: (inout MutableSpan<Float>) throws(E) -> Void
    ) throws(E) {
        if let place {
            try place.withMutableSpan(part, body)
        } else {
            try trainer.withMeanDestination(kind, range: part, body)
        }
    }

    /// XXH3 over what all members share: outer copy and momentum, or the parameters (architecture page,
    /// "The life of one fragment").
    func stateDigest() -> UInt64 { digest(of: [0..<trainer.parameterCount]) }

    private func digest(of ranges: [Range<Int>]) -> UInt64 {
        var digest = Digest64()
        for vector in trainer.digestVectors {
            for range in ranges { trainer.withState(vector, range: range) { digest.update($0) } }
        }
        return digest.value
    }

    private func evaluate(_ step: UInt32) {
        account.enter(.apply)
        let samples = setup.configuration.training.evaluationSamples
        let loss = trainer.evaluate(samples: samples)
        emit(.event(.evaluated(step: step, loss: Double(loss), samples: samples)))
    }

    // MARK: State on disk

    private func checkpoint(_ step: UInt32, _ round: UInt32) {
        account.enter(.recover)
        reportCodecUse()
        do {
            let bytes = try writeState()
            emit(.event(.checkpointed(path: setup.statePath, step: step, bytes: bytes)))
        } catch {
            emit(.event(.checkpointFailed(path: setup.statePath, reason: "\(error)")))
        }
    }

    private func save(model: Bool) {
        account.enter(.recover)
        reportCodecUse()
        if let atEnd {
            atEnd(trainer, setup)
            return emit(.event(.saved))
        }
        do {
            _ = try writeState()
            if model {
                try setup.writeModel(trainer)
                report(model: setup.modelPath)
            }
            emit(.event(.saved))
        } catch {
            emit(.event(.saveFailed(reason: "\(error)")))
        }
    }

    /// The end of a run whose states nobody resumes from.
    func finish(model: Bool, writes: Bool) {
        reportCodecUse()
        do {
            if model, writes { try setup.writeModel(trainer) }
            if model {
                let path = writes ? setup.modelPath : "(not written)"
                report(model: path)
            }
            emit(.event(.saved))
        } catch {
            emit(.event(.saveFailed(reason: "\(error)")))
        }
    }

    private func report(model path: String) {
        emit(
            .report(.modelWritten(worker: setup.worker, path: path, digest: stateDigest())))
    }

    /// Steps between reports of how experts are used: a run has at most some thousands.
    private static let expertUseEvery: UInt32 = 10

    private func reportExpertUse() {
        guard step % Self.expertUseEvery == 0, !trainer.expertUse.isEmpty else { return }
        reportCrossing()
        let use = trainer.expertUse.map {
            RunEvent.ExpertUse(shares: $0.shares.map(Double.init), dropped: Double($0.dropped))
        }
        emit(.report(.expertUse(worker: setup.worker, step: step, use)))
    }

    private func reportCodecUse() {
        reportCrossing()
        emit(.codecUse(classes))
    }

    private func writeState() throws -> UInt64 {
        try setup.writeState(
            trainer, step: step, round: round, samples: drawn, digest: stateDigest())
    }
}
