import Foundation
import Testing
import Training

@Suite("BLAS detection, model shape, benchmark")
struct BlasTests {
    private let avx2 = ["avx2", "fma", "bmi1", "bmi2"]
    private let avx512 = ["avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"]

    @Test("a misjudged processor gets the kernels of its vectors, a judged one is left alone")
    func suggestions() {
        func suggestion(_ vendor: String, _ flags: [String], _ detected: String) -> String? {
            let text =
                "processor\t: 0\nvendor_id\t: \(vendor)\nflags\t\t: fpu \(flags.joined(separator: " "))\n"
            return BlasLibrary.suggestedCoreType(detected: detected, processor: text)
        }
        #expect(suggestion("GenuineIntel", avx2 + avx512, "Prescott") == "SkylakeX")
        #expect(suggestion("GenuineIntel", avx2, "Prescott") == "Haswell")
        #expect(suggestion("AuthenticAMD", avx2, "Barcelona") == "Zen")
        #expect(suggestion("AuthenticAMD", avx2 + avx512, "Prescott") == "SkylakeX")
        #expect(suggestion("GenuineIntel", avx2 + avx512, "SkylakeX") == nil)
        #expect(suggestion("GenuineIntel", avx2 + avx512, "Cooperlake") == nil)
        #expect(suggestion("AuthenticAMD", avx2, "Zen") == nil)
        #expect(suggestion("GenuineIntel", ["sse3"], "Prescott") == nil)
        #expect(BlasLibrary.suggestedCoreType(detected: "Prescott", processor: "") == nil)
    }

    @Test("the loaded library names its kernels")
    func coreName() {
        #expect(BlasLibrary.coreName != "unknown" && !BlasLibrary.coreName.isEmpty)
    }

    @Test("the default shape has the size of its PyTorch twin, tensors without gaps")
    func shape() throws {
        // 478,976 parameters: what the comparison program of the same size reports.
        #expect(ModelShape().parameterCount == 478_976)
        #expect(ModelShape(tiedHead: true).parameterCount == 478_976 - 256 * 129)
        var end = 0
        for tensor in ModelShape().tensors {
            #expect(tensor.range.lowerBound == end)
            #expect(tensor.shape.reduce(1, *) == tensor.range.count)
            end = tensor.range.upperBound
        }
        #expect(end == ModelShape().parameterCount)
        #expect(ModelShape().tensors[2].name == "blocks.0.attention_norm.weight")
    }

    @Test("shapes that cannot be built are refused by name")
    func badShapes() {
        #expect(throws: ModelShapeError.notDivisible(dModel: 12, heads: 4)) {
            try ModelShape(dModel: 12).validate()
        }
        #expect(throws: ModelShapeError.notDivisible(dModel: 128, heads: 3)) {
            try ModelShape(heads: 3).validate()
        }
        #expect(throws: ModelShapeError.self) { try ModelShape(layers: 0).validate() }
        #expect(throws: ModelShapeError.self) {
            try ModelShape(dModel: 16_384, layers: 1_024, heads: 1).validate()
        }
        let error = #expect(throws: ModelShapeError.self) {
            try ModelShape(vocabulary: 300).validate()
        }
        #expect(error?.description.contains("vocabulary is 300") == true)
    }

    @Test("the benchmark's figures fit together and keep their names")
    func benchmark() throws {
        let shape = ModelShape(dModel: 16, layers: 1, heads: 2, context: 16)
        let result = try TrainBenchmark.run(steps: 5, shape: shape, batch: 2)
        #expect(result.parameters == shape.parameterCount && result.steps == 5)
        #expect(result.stepMsMin <= result.stepMsMedian && result.stepMsMedian <= result.stepMsMax)
        let rate = 32 / result.stepMsMedian * 1e3
        #expect(abs(result.tokensPerSecond - rate) < 1e-6 * rate)
        let json = String(decoding: try JSONEncoder().encode(result), as: UTF8.self)
        for key in ["tokens_per_second", "step_ms_median", "forward_ms", "blas_core", "kernels"] {
            #expect(json.contains("\"\(key)\""))
        }
    }
}
