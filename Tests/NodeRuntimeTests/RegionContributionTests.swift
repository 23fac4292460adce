import ClusterModel
import Compression
import Coordination
import NodeRuntime
import Testing
import Training
import WireProtocol

/// What a region contributes, reduced from its members' parts, goes by the rules of one worker's own.
@Suite("Contributions that a region reduces") struct RegionContributionTests {
    private static let elements = 3_000

    private static let topology = Topology(
        regions: (0..<2).map { region in
            Topology.Region(
                name: "r\(region)",
                workers: (0..<2).map {
                    Topology.Worker(name: "r\(region)w\($0)", microBatch: 1, nominalStep: .zero)
                })
        }, links: [], coordinatorRegion: RegionID(0))

    private static func setup(feedback: Bool) -> TrainerSetup {
        var setup = TrainerSetup(
            configuration: RunConfiguration(
                name: "test", seed: 1, steps: 4, model: .standard, training: .standard,
                schedule: RunConfiguration.Schedule(
                    inner: .everyStep, outer: .everyStep, syncEvery: 1, outerLearningRate: 1,
                    outerMomentum: 0),
                wire: RunConfiguration.Wire(
                    insideRegion: .fp32, betweenRegions: .int8, errorFeedback: feedback),
                deadlines: .standard, data: RunConfiguration.Data(path: "/dev/null")),
            topology: Self.topology, worker: WorkerID(0), name: "r0w0", directory: "/nowhere")
        setup.storesChunks = true
        return setup
    }

    private func contribution(
        round: UInt32, staysHere: Bool = false, epoch: UInt32 = 1
    ) -> RegionContribution {
        let range = 0..<UInt64(Self.elements)
        return RegionContribution(
            round: .outer(fragment: FragmentID(0), round: round), epoch: Epoch(rawValue: epoch),
            slice: 2, position: 0, range: range, chunks: { [range] },
            fragment: [ElementRange(start: 0, count: UInt64(Self.elements))], staysHere: staysHere)
    }

    private func values(_ member: Int, _ round: Int) -> [Float] {
        (0..<Self.elements).map { Float(($0 * 37 + member * 11 + round * 5) % 101) / 50 - 1 }
    }

    private func fp32(_ values: [Float]) -> PayloadBytes {
        PayloadBytes(
            made: values.flatMap { value in
                (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
            }, transform: .fp32, stage: .stored)
    }

    private func encoded(
        _ values: [Float], _ feedback: inout ErrorFeedback?
    ) throws -> [UInt8] {
        var bytes = [UInt8](
            repeating: 0,
            count: ChunkFormat.encodedSizeBound(.int8, elements: Self.elements))
        var output = bytes.mutableSpan
        let encoder = ChunkEncoder(choice: .stored)
        let extent =
            try feedback?.encode(
                chunk: 0, of: values.span, transform: .int8, with: encoder, into: &output)
            ?? encoder.encode(values.span, transform: .int8, into: &output)
        return Array(bytes[..<extent.byteCount])
    }

    @Test("the mean of the parts is encoded as one worker's values are", arguments: [true, false])
    func encoding(feedback: Bool) throws {
        let runner = ReductionRunner(FramePool())
        let setup = Self.setup(feedback: feedback)
        var expected: ErrorFeedback? = feedback ? ErrorFeedback(chunks: [Self.elements]) : nil
        for round in 1...3 {
            let parts = (0..<2).map { values($0, round) }
            // 3 and 5 tokens.
            let mean = zip(parts[0], parts[1]).map { a, b -> Float in
                let product = Float(5.0 / 8) * b
                return Float(3.0 / 8) * a + product
            }
            let bytes = try runner.reduce(
                zip(parts, [3, 5]).map { (fp32($0), $1) }, elements: Self.elements,
                transform: .int8, scope: .region, contribution: contribution(round: UInt32(round)),
                setup: setup)
            let reference = try encoded(mean, &expected)
            #expect(bytes.transform == .int8 && bytes.copiedBytes == reference, "round \(round)")
        }
        #expect(runner.takeNote(source: "r0w0") == nil)
    }

    @Test("what was withheld is dropped and said when the round leaves again")
    func again() throws {
        let runner = ReductionRunner(FramePool())
        let setup = Self.setup(feedback: true)
        for epoch: UInt32 in 1...2 {
            _ = try runner.reduce(
                [(fp32(values(0, 1)), 1)], elements: Self.elements, transform: .int8,
                scope: .region, contribution: contribution(round: 1, epoch: epoch), setup: setup)
        }
        #expect(runner.takeNote(source: "r0w0") != nil)
        #expect(runner.takeNote(source: "r0w0") == nil)
    }

    @Test("a seat that begins again knows nothing of what was withheld")
    func newTrainer() throws {
        var configuration = Self.setup(feedback: true).configuration
        configuration.model = .synthetic(parameters: Self.elements)
        let trainers = try UnpacedTrainers(
            configuration: configuration, topology: Self.topology, directory: nil)
        func sent(_ round: UInt32) throws -> [Float] {
            let bytes = try trainers.mean(
                [(fp32(values(0, 1)), 1)], elements: Self.elements, transform: .int8,
                scope: .region, contribution: contribution(round: round), owner: WorkerID(0))
            var values = [Float](repeating: 0, count: Self.elements)
            var span = values.mutableSpan
            let encoded = bytes.copiedBytes
            try ChunkDecoder().decode(
                encoded.span, transform: .int8, stage: bytes.stage, into: &span)
            return values
        }
        _ = try trainers.makeTrainer(seat: WorkerID(0))
        let first = try sent(1)
        #expect(try sent(2) != first, "what was withheld goes along")
        _ = try trainers.makeTrainer(seat: WorkerID(0))
        #expect(try sent(3) == first)
    }

    @Test("bytes count by class of tensor where they leave")
    func classes() throws {
        let runner = ReductionRunner(FramePool())
        let tensors = [
            TensorSpec(
                name: "head.weight", shape: [Self.elements], range: 0..<Self.elements, layer: nil,
                kind: .matrix)
        ]
        runner.classes = TensorClassTally(tensors: tensors)
        for staysHere in [true, false] {
            _ = try runner.reduce(
                [(fp32(values(0, 1)), 1)], elements: Self.elements, transform: .int8,
                scope: .region, contribution: contribution(round: 1, staysHere: staysHere),
                setup: Self.setup(feedback: false))
            let counted = runner.classes?.uses.reduce(0) { $0 + $1.values } ?? 0
            #expect(counted == (staysHere ? 0 : UInt64(Self.elements)))
        }
        // Added to what the trainer has counted itself.
        var own = TensorClassTally(tensors: tensors)
        own.add([0..<1_000], bytes: 1_000)
        let sum = own.adding(runner.classes).uses.reduce(0) { $0 + $1.values }
        #expect(sum == UInt64(Self.elements) + 1_000)
    }

    @Test("a part that is not finite is named")
    func notFinite() {
        let runner = ReductionRunner(FramePool())
        var bad = values(1, 1)
        bad[7] = .nan
        for feedback in [true, false] {
            #expect(throws: NodeError.self) {
                _ = try runner.reduce(
                    [(fp32(values(0, 1)), 1), (fp32(bad), 1)], elements: Self.elements,
                    transform: .int8, scope: .region, contribution: contribution(round: 1),
                    setup: Self.setup(feedback: feedback))
            }
        }
    }
}
