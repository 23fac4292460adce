import Foundation
import Testing
import Training

@Suite("corpus and sample order")
struct CorpusTests {
    @Test("targets follow inputs, samples do not overlap, validation is the end of the text")
    func samples() throws {
        let bytes = randomBytes(200_000, seed: 1)
        let corpus = try Corpus(bytes: bytes, context: 9)
        let first = corpus.trainingBatch([0, 2])
        #expect(first.inputs == Array(bytes[0..<9] + bytes[20..<29]))
        #expect(first.targets == Array(bytes[1..<10] + bytes[21..<30]))
        // 2 % would be 4,000 bytes: the minimum of 64 KiB applies.
        let training = bytes.count - 65_536
        #expect(corpus.trainingSampleCount == training / 10)
        #expect(corpus.validationSampleCount == 6_553)
        let validation = corpus.validationBatch([1])
        #expect(validation.inputs == Array(bytes[(training + 10)..<(training + 19)]))
    }

    @Test("a plain file and its gzip form give equal samples")
    func compressed() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/text"
            let bytes = (0..<150_000).map { UInt8(truncatingIfNeeded: ($0 * $0) >> 7) }
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let outcome = try runProgram("/bin/gzip", ["-k", path])
            try #require(outcome.status == 0, "\(outcome.output)")
            let plain = try Corpus.load(path: path, context: 20)
            let packed = try Corpus.load(path: path + ".gz", context: 20)
            #expect(packed.trainingSampleCount == plain.trainingSampleCount)
            #expect(packed.trainingBatch(0..<50) == plain.trainingBatch(0..<50))
            #expect(packed.validationBatch([3]) == plain.validationBatch([3]))
        }
    }

    @Test("a cut or damaged gzip file is an error, not a shorter text")
    func damaged() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/text"
            try Data(randomBytes(300_000, seed: 2)).write(to: URL(fileURLWithPath: path))
            _ = try runProgram("/bin/gzip", [path])
            var packed = try Data(contentsOf: URL(fileURLWithPath: path + ".gz"))
            let cut = URL(fileURLWithPath: directory + "/cut.gz")
            try packed.prefix(250_000).write(to: cut)
            #expect(throws: CorpusError.self) { try Corpus.load(path: cut.path, context: 8) }
            packed[packed.count - 6] ^= 1
            let flipped = URL(fileURLWithPath: directory + "/flipped.gz")
            try packed.write(to: flipped)
            #expect(throws: CorpusError.self) { try Corpus.load(path: flipped.path, context: 8) }
        }
    }

    @Test("a missing or short text says what is needed")
    func errors() throws {
        let missing = #expect(throws: CorpusError.self) {
            try Corpus.load(path: "/nonexistent/text", context: 8)
        }
        #expect(missing?.description.contains("/nonexistent/text") == true)
        #expect(missing?.description.contains("No such file") == true)
        let packageHint = CorpusError.missing(path: Corpus.defaultPath, reason: "No such file")
        #expect(packageHint.description.contains("dict-gcide"))
        #expect(
            throws: CorpusError.tooShort(path: "(memory)", bytes: 1_000, needed: 65_536 + 9)
        ) {
            try Corpus(bytes: randomBytes(1_000, seed: 1), context: 8)
        }
        _ = try Corpus(bytes: randomBytes(65_536 + 9, seed: 1), context: 8)
    }

    @Test(
        "each pass uses every sample exactly once, in another order",
        arguments: [1, 2, 5, 64, 1_000])
    func permutation(count: Int) {
        let order = SampleOrder(seed: 7, sampleCount: count)
        let passes = (0..<3).map { pass in
            (0..<count).map { order.sample(at: UInt64(pass * count + $0)) }
        }
        for pass in passes {
            #expect(Set(pass) == Set(0..<count))
        }
        if count >= 64 {
            #expect(passes[0] != passes[1] && passes[1] != passes[2])
            #expect(passes[0] != Array(0..<count))
            let other = SampleOrder(seed: 8, sampleCount: count)
            #expect((0..<count).map { other.sample(at: UInt64($0)) } != passes[0])
        }
    }

    @Test("the order mixes: neighbours in the stream are far apart in the text")
    func mixing() {
        let count = 10_000
        let order = SampleOrder(seed: 3, sampleCount: count)
        let distances = (0..<2_000).map {
            abs(order.sample(at: UInt64($0)) - order.sample(at: UInt64($0 + 1)))
        }
        // Independent positions are a third of the range apart on average.
        let mean = Double(distances.reduce(0, +)) / 2_000 / Double(count)
        #expect(mean > 0.28 && mean < 0.38, "\(mean)")
    }
}
