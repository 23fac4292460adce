import ClusterModel
import Compression
import Reduction
import ReductionKernels
import Testing

@Suite("fused reduction of chunks")
struct ReducerTests {
    @Test("mixed transforms and stages give the mean of their decoded values", arguments: 1...16)
    func mixed(sourceCount: Int) throws {
        var gradient = Gradient(seed: UInt64(sourceCount) + 1)
        for count in [1, 67, 256, 5_000] {
            var chunks: [EncodedChunk] = []
            for index in 0..<sourceCount {
                let transform = TransformID.allCases[Int(gradient.word() % 7)]
                let choice = choices[Int(gradient.word() % UInt64(choices.count))]
                var chunk = try encode(gradient.values(count), transform, choice)
                chunk.weight = UInt64(index * 1_000 + 7)
                chunks.append(chunk)
            }
            let factors = try meanFactors(chunks.map(\.weight))
            let decoded = try chunks.map { try decode($0, count: count) }
            let mean = ScalarReference.weightedSum(decoded, factors: factors)
            for transform in TransformID.allCases {
                let expected = try encode(mean, transform, .stored)
                for set in Kernels.available {
                    let reducer = FusedReducer(kernels: set)
                    let got = try reducer.reduce(chunks, elements: count, transform: transform)
                    #expect(got.mean.bytes == expected.bytes, "\(set.name) \(transform)")
                    #expect(got.result.firstNonFinite == nil)
                    #expect(got.result.sumOfSquares == ScalarReference.sumOfSquares(mean))
                }
            }
        }
    }

    @Test("the first source with a NaN or an infinity is named", arguments: TransformID.allCases)
    func culprit(transform: TransformID) throws {
        var gradient = Gradient(seed: 3)
        for guilty in 0..<5 {
            let chunks = try (0..<5).map { index in
                var values = gradient.values(600)
                if index >= guilty { values[599] = index % 2 == 0 ? .infinity : .nan }
                return try encode(values, transform, .stored)
            }
            let got = try FusedReducer().reduce(chunks, elements: 600, transform: .bf16)
            #expect(got.result.firstNonFinite == guilty)
            #expect(!got.result.sumOfSquares.isFinite)
        }
    }

    @Test("giants whose squares overflow are nobody's fault")
    func overflow() throws {
        let chunk = try encode([Float](repeating: 1e30, count: 10), .fp32, .stored)
        let got = try FusedReducer().reduce([chunk], elements: 10, transform: .fp32)
        #expect(got.result.firstNonFinite == nil)
        #expect(got.result.sumOfSquares == .infinity)
        #expect(try decode(got.mean, count: 10) == [Float](repeating: 1e30, count: 10))
    }

    @Test("weights which sum to nothing or to too much are refused")
    func weights() throws {
        var chunk = try encode([1], .fp32, .stored)
        chunk.weight = 0
        #expect(throws: ChunkError.sources("all weights are zero")) {
            try FusedReducer().reduce([chunk], elements: 1, transform: .fp32)
        }
        chunk.weight = .max
        #expect(throws: ChunkError.sources("the weights' sum exceeds 64 bits")) {
            try FusedReducer().reduce([chunk, chunk], elements: 1, transform: .fp32)
        }
        #expect(throws: ChunkError.self) {
            try FusedReducer().reduce([], elements: 1, transform: .fp32)
        }
    }

    @Test("a limit clips the mean", arguments: TransformID.allCases)
    func limit(transform: TransformID) throws {
        var gradient = Gradient(seed: 12)
        let values = (0..<3).map { _ in gradient.values(5_000) }
        let chunks = try values.map { try encode($0, .bf16, .always(.zstdPlanes)) }
        let decoded = try chunks.map { try decode($0, count: 5_000) }
        let mean = ScalarReference.weightedSum(
            decoded, factors: try meanFactors(chunks.map(\.weight)))
        let expected = try encode(ScalarReference.limited(mean, to: 0.002), transform, .stored)
        let got = try FusedReducer().reduce(
            chunks, elements: 5_000, transform: transform, limit: 0.002)
        #expect(got.mean.bytes == expected.bytes)
        #expect(got.result.sumOfSquares == ScalarReference.sumOfSquares(mean))
    }

    @Test("trimmed mean and median of chunks", arguments: TransformID.allCases)
    func robust(transform: TransformID) throws {
        var gradient = Gradient(seed: 13)
        var chunks = try (0..<5).map { index in
            try encode(gradient.values(700), TransformID.allCases[index], .always(.zstd))
        }
        chunks.append(try encode([Float](repeating: 1e30, count: 700), .fp32, .stored))
        chunks.append(try encode([Float](repeating: .nan, count: 700), .fp32, .stored))
        let decoded = try chunks.map { try decode($0, count: 700) }
        for trim in [2, 3] {
            let expected = try encode(
                ScalarReference.trimmedMean(decoded, trim: trim), transform, .stored)
            let got = try FusedReducer().trimmedMean(
                chunks, elements: 700, transform: transform, trim: trim)
            #expect(got.mean.bytes == expected.bytes)
            #expect(got.result.firstNonFinite == nil)
        }
        let open = try FusedReducer().trimmedMean(
            chunks, elements: 700, transform: transform, trim: 0)
        #expect(open.result.firstNonFinite == 6)
        for trim in [-1, 4] {
            #expect(throws: ChunkError.self) {
                try FusedReducer().trimmedMean(
                    chunks, elements: 700, transform: transform, trim: trim)
            }
        }
    }

    @Test(
        "neither bytes nor figures depend on the number of threads",
        arguments: TransformID.allCases)
    func threads(transform: TransformID) throws {
        var gradient = Gradient(seed: 29)
        var positions = try (0..<23).map { index in
            let elements = [1, 67, 256, 1_000, 4_097][index % 5]
            let chunks = try (0...(index % 4)).map { source in
                let values = gradient.values(elements)
                var chunk = try encode(values, TransformID.allCases[(index + source) % 7], .stored)
                chunk.weight = UInt64(source + 1)
                return chunk
            }
            return ReducerPool.Position(chunks: chunks, elements: elements)
        }
        positions[11].chunks[0].bytes.removeLast()
        positions[13].chunks = []
        let expected = positions.map { position in
            Result { () throws(ChunkError) in
                try FusedReducer().reduce(
                    position.chunks, elements: position.elements, transform: transform,
                    limit: 0.003)
            }
        }
        for threads in [1, 2, 3, 4, 7] {
            let pool = ReducerPool(threads: threads)
            for _ in 0..<2 {
                let got = pool.reduce(positions, transform: transform, limit: 0.003)
                #expect(got.count == positions.count)
                for (left, right) in zip(got, expected) {
                    switch (left, right) {
                    case (.success(let one), .success(let other)):
                        #expect(one.mean == other.mean && one.result == other.result)
                    case (.failure(let one), .failure(let other)): #expect(one == other)
                    default: Issue.record("\(threads) threads: \(left), alone \(right)")
                    }
                }
            }
        }
    }

    @Test("the receiver's pass takes the outer step of the decoded mean", arguments: choices)
    func apply(choice: LosslessChoice) throws {
        var gradient = Gradient(seed: 31)
        for transform in TransformID.allCases {
            let chunk = try encode(gradient.values(5_000), transform, choice)
            let start = (0..<3).map { _ in gradient.values(5_000) }
            let step = OuterStep(learningRate: 0.7, momentum: 0.9, alpha: 0.5)
            let mean = try decode(chunk, count: 5_000)
            let expected = ScalarReference.outerStep(
                mean, step, outer: start[0], momentum: start[1], live: start[2])
            for set in Kernels.available {
                var (outer, momentum, live) = (start[0], start[1], start[2])
                var o = outer.mutableSpan
                var m = momentum.mutableSpan
                var l = live.mutableSpan
                let done = try ChunkDecoder(kernels: set).apply(
                    chunk.bytes.span, transform: transform, stage: chunk.stage, step: step,
                    outer: &o, momentum: &m, live: &l)
                #expect(done.applied == 5_000)
                #expect(done.squares == ScalarReference.sumOfSquares(mean))
                #expect(outer == expected.outer && momentum == expected.momentum)
                #expect(live == expected.live)
            }
        }
    }

    @Test("a truncated source is refused before anything is written")
    func truncated() throws {
        var chunk = try encode([1, 2, 3], .fp32, .stored)
        chunk.bytes.removeLast()
        #expect(
            throws: ChunkError.encodedLength(.fp32, .stored, expected: 12...12, got: 11)
        ) {
            try FusedReducer().reduce([chunk], elements: 3, transform: .fp32)
        }
    }
}

@Suite("error feedback")
struct ErrorFeedbackTests {
    @Test("chunks of unlike sizes keep their own residues")
    func unlikeChunks() throws {
        var gradient = Gradient(seed: 22)
        let sizes = [384, 65_536, 1, 700]
        let values = gradient.values(sizes.reduce(0, +))
        var feedback = ErrorFeedback(chunks: sizes)
        #expect(feedback.count == values.count && feedback.chunkCount == 4)
        let encoder = ChunkEncoder()
        var start = 0
        for (chunk, size) in sizes.enumerated() {
            let before = feedback.values
            var bytes = [UInt8](
                repeating: 0, count: ChunkFormat.encodedSizeBound(.int4, elements: size))
            var span = bytes.mutableSpan
            let extent = try feedback.encode(
                chunk: chunk, of: values.span.extracting(start..<start + size),
                transform: .int4, with: encoder, into: &span)
            let decoded = try decode(
                EncodedChunk(bytes: bytes, transform: .int4, stage: extent.stage, weight: 1),
                count: size)
            for index in 0..<values.count {
                let expected =
                    (start..<start + size).contains(index)
                    ? values[index] - decoded[index - start] : before[index]
                #expect(feedback.values[index] == expected)
            }
            start += size
        }
        #expect(feedback.norm > 0)
    }

    @Test("what was withheld arrives in the end", arguments: TransformID.allCases)
    func arrives(transform: TransformID) throws {
        var gradient = Gradient(seed: 21)
        let count = 70_000
        let values = gradient.values(count)
        var feedback = ErrorFeedback(
            chunks: [ChunkFormat.usualElements, count - ChunkFormat.usualElements])
        let encoder = ChunkEncoder()
        var received = [Double](repeating: 0, count: count)
        let rounds = 8
        for _ in 0..<rounds {
            for chunk in 0..<feedback.chunkCount {
                let start = chunk * ChunkFormat.usualElements
                let size = min(ChunkFormat.usualElements, count - start)
                var bytes = [UInt8](
                    repeating: 0,
                    count: ChunkFormat.encodedSizeBound(transform, elements: size))
                var span = bytes.mutableSpan
                let extent = try feedback.encode(
                    chunk: chunk, of: values.span.extracting(start..<(start + size)),
                    transform: transform, with: encoder, into: &span)
                let decoded = try decode(
                    EncodedChunk(
                        bytes: bytes, transform: transform, stage: extent.stage, weight: 1),
                    count: size)
                for index in 0..<size { received[start + index] += Double(decoded[index]) }
            }
        }
        // Sent so far + residue = contributions so far, up to fp32 rounding of the sums.
        let residue = feedback.values
        for index in 0..<count {
            let expected = Double(values[index]) * Double(rounds)
            #expect(abs(received[index] + Double(residue[index]) - expected) < 1e-6)
        }
        if transform == .fp32 {
            #expect(feedback.norm == 0)
        } else {
            let exact = residue.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            #expect(abs(feedback.norm - exact) <= 1e-5 * exact)
        }
        _ = feedback.drop()
        #expect(feedback.norm == 0)
        #expect(feedback.values.allSatisfy { $0 == 0 })
    }
}

@Suite("digests")
struct DigestTests {
    @Test("a digest of parts equals the digest of the whole")
    func parts() {
        let whole = (0..<1_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        var digest = Digest64()
        for start in stride(from: 0, to: 1_000, by: 13) {
            digest.update(whole.span.extracting(start..<min(start + 13, 1_000)))
        }
        #expect(digest.value == Digest64.of(whole.span))
    }

    @Test("the empty digest is the published one")
    func empty() {
        #expect(Digest64().value == 0x2D06_8005_38D3_94C2)
    }
}
