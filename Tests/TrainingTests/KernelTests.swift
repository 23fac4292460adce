import ClusterModel
import Testing
import Training
import TrainingKernels

@Suite("element-wise passes against scalar references, every instruction set")
struct KernelTests {
    @Test("rows of experts: combining and both gradients, choices in order", arguments: kernelSets)
    func expertRows(set: KernelChoice) {
        // Four tokens, top-2, seven rows; one choice was dropped.
        let rows: [Int32] = [0, 4, 1, -1, 5, 2, 6, 3]
        let tokens: [Int32] = [0, 1, 2, 3, 0, 2, 3]
        let weights: [Float] = [0.75, 0.25, 1, 0.5, 0.125, 0.5, 2, 0.25]
        for width in [8, 24, 128] {
            let source = Vector.random(4 * width, seed: 1)
            let gathered = Vector(count: 7 * width)
            ExpertRows.gather(
                source.floats, tokens: [0, -1, 2, 3, 0, 2, 3], rows: 7, width: width,
                into: gathered.floats)
            #expect(gathered.doubles(width..<2 * width).allSatisfy { $0 == 0 })
            #expect(gathered[5 * width + 3] == source[2 * width + 3])
            let outputs = Vector.random(7 * width, seed: 2)
            let result = Vector(count: 4 * width)
            set.kernels.combineRows(
                outputs.floats, rows: rows, weights: weights, topK: 2, width: width, from: 0,
                addedTo: result.floats)
            let rowGradient = Vector(count: 7 * width)
            let weightGradient = Vector(count: 8)
            set.kernels.combineRowsBackward(
                source.floats, outputs: outputs.floats, rows: rows, weights: weights, topK: 2,
                width: width, rowGradient: rowGradient.floats,
                weightGradient: weightGradient.floats)
            let sums = Vector(count: 4 * width)
            set.kernels.addRows(
                outputs.floats, rows: rows, topK: 2, width: width, from: 0, to: sums.floats)
            // Tokens 1 and 2 alone.
            let (some, someSums) = (Vector(count: 2 * width), Vector(count: 2 * width))
            set.kernels.combineRows(
                outputs.floats, rows: rows, weights: weights, topK: 2, width: width, from: 1,
                addedTo: some.floats)
            set.kernels.addRows(
                outputs.floats, rows: rows, topK: 2, width: width, from: 1, to: someSums.floats)
            #expect(some.doubles(0..<2 * width) == result.doubles(width..<3 * width))
            #expect(someSums.doubles(0..<2 * width) == sums.doubles(width..<3 * width))
            for slot in rows.indices {
                let row = Int(rows[slot])
                let product = (0..<width).reduce(0.0) { sum, column in
                    row < 0
                        ? 0
                        : sum + Double(source[slot / 2 * width + column])
                            * Double(outputs[row * width + column])
                }
                #expect(abs(Double(weightGradient[slot]) - product) < 1e-4)
                guard row >= 0 else { continue }
                #expect(tokens[row] == Int32(slot / 2))
                for column in 0..<width {
                    #expect(
                        rowGradient[row * width + column]
                            == weights[slot] * source[slot / 2 * width + column])
                }
            }
            for token in 0..<4 {
                for column in 0..<width {
                    let chosen = (2 * token..<2 * token + 2).filter { rows[$0] >= 0 }
                    let combined = chosen.reduce(Float(0)) {
                        $0 + outputs[Int(rows[$1]) * width + column] * weights[$1]
                    }
                    #expect(result[token * width + column] == combined)
                    let sum = chosen.reduce(Float(0)) {
                        $0 + outputs[Int(rows[$1]) * width + column]
                    }
                    #expect(sums[token * width + column] == sum)
                }
            }
        }
    }

    @Test("GELU and its slope stay within 1e-6 of the C library's erf", arguments: kernelSets)
    func gelu(set: KernelChoice) {
        let values = (-4_000...4_007).map { Float($0) * 0.003 }
        let hidden = Vector(values)
        let activated = Vector(count: values.count)
        set.kernels.geluForward(hidden: hidden.floats, activated: activated.floats)
        for index in values.indices {
            let (value, slope) = ScalarReference.gelu(Double(values[index]))
            #expect(abs(Double(activated[index]) - value) < 1e-6 * max(1, abs(value)))
            #expect(abs(Double(hidden[index]) - slope) < 1e-6, "at \(values[index])")
        }
        // A bias added on the way gives the bytes of one added before.
        let bias = Vector.random(24, seed: 1)
        let (raw, sum) = (Vector.random(48, seed: 2), Vector(count: 48))
        for index in 0..<48 { sum.floats[index] = raw[index] + bias[index % 24] }
        let (fused, apart) = (Vector(count: 48), Vector(count: 48))
        set.kernels.biasGeluForward(
            hidden: raw.floats, bias: bias.floats, activated: fused.floats)
        set.kernels.geluForward(hidden: sum.floats, activated: apart.floats)
        #expect(fused.bits == apart.bits && raw.bits == sum.bits)
        // Sixteen at once give the bytes of eight at a time.
        for start in stride(from: 0, to: values.count, by: 8) {
            let (part, result) = (Vector(Array(values[start..<start + 8])), Vector(count: 8))
            set.kernels.geluForward(hidden: part.floats, activated: result.floats)
            #expect(result.bits == Array(activated.bits[start..<start + 8]), "from \(start)")
            #expect(part.bits == Array(hidden.bits[start..<start + 8]), "from \(start)")
        }
    }

    @Test("GELU backwards with its bias gives the bytes of the two passes", arguments: kernelSets)
    func geluBias(set: KernelChoice) {
        for (rows, width) in [(1, 8), (5, 24), (37, 64)] {
            let slope = Vector.random(rows * width, seed: 1)
            let (fused, apart) = (
                Vector.random(rows * width, seed: 2), Vector.random(rows * width, seed: 2)
            )
            let (sums, expected) = (Vector.random(width, seed: 3), Vector.random(width, seed: 3))
            let scratch = Vector.random(width, seed: 4)
            set.kernels.geluBackward(
                gradient: fused.floats, slope: slope.floats, biasGradient: sums.floats,
                scratch: scratch.floats)
            set.kernels.geluBackward(gradient: apart.floats, slope: slope.floats)
            set.kernels.addColumnSums(of: apart.floats, to: expected.floats)
            #expect(fused.bits == apart.bits && sums.bits == expected.bits)
            #expect(fused[0] == Vector.random(rows * width, seed: 2)[0] * slope[0])
        }
    }

    @Test("LayerNorm forward and backward", arguments: kernelSets)
    func layerNorm(set: KernelChoice) {
        for width in [8, 24, 128] {
            let (x, dy) = (Vector.random(3 * width, seed: 1), Vector.random(3 * width, seed: 2))
            let (weight, bias) = (Vector.random(width, seed: 3), Vector.random(width, seed: 4))
            let (y, statistics) = (Vector(count: 3 * width), Vector(count: 6))
            set.kernels.layerNormForward(
                input: x.floats, weight: weight.floats, bias: bias.floats, output: y.floats,
                statistics: statistics.floats)
            let (dx, dw, db) = (
                Vector(count: 3 * width), Vector(count: width), Vector(count: width)
            )
            set.kernels.layerNormBackward(
                outputGradient: dy.floats, input: x.floats, weight: weight.floats,
                statistics: statistics.floats, inputGradient: dx.floats,
                weightGradient: dw.floats, biasGradient: db.floats)
            for row in 0..<3 {
                let range = row * width..<(row + 1) * width
                let expected = ScalarReference.layerNorm(
                    x.doubles(range), weight: weight.doubles(), bias: bias.doubles())
                expectClose(y.doubles(range), expected, 2e-6)
                let gradient = ScalarReference.layerNormInputGradient(
                    x.doubles(range), weight: weight.doubles(), outputGradient: dy.doubles(range))
                expectClose(dx.doubles(range), gradient, 5e-6)
            }
            let columns = (0..<width).map { column in
                (0..<3).reduce(0.0) { $0 + Double(dy[$1 * width + column]) }
            }
            expectClose(db.doubles(), columns, 2e-6)
        }
    }

    @Test(
        "causal softmax over every length 1...67, hidden keys exactly zero", arguments: kernelSets)
    func softmax(set: KernelChoice) {
        let (keys, rowStride, scale) = (67, 72, Float(0.3))
        let scores = Vector.random(keys * rowStride, seed: 5)
        let before = scores.doubles()
        set.kernels.softmaxForward(
            scores: scores.floats, rowStride: rowStride, queries: 0..<keys, keys: keys,
            scale: scale)
        let gradient = Vector.random(keys * rowStride, seed: 6)
        let outer = gradient.doubles()
        set.kernels.softmaxBackward(
            probabilities: scores.floats, gradient: gradient.floats, rowStride: rowStride,
            queries: 0..<keys, keys: keys, scale: scale)
        for query in 0..<keys {
            let visible = query * rowStride..<query * rowStride + query + 1
            let hidden = visible.upperBound..<query * rowStride + keys
            let p = ScalarReference.softmax(before[visible].map { $0 * Double(scale) })
            expectClose(scores.doubles(visible), p, 1e-6)
            #expect(scores.doubles(hidden).allSatisfy { $0 == 0 })
            let expected = ScalarReference.softmaxInputGradient(
                p, outputGradient: Array(outer[visible])
            ).map { $0 * Double(scale) }
            expectClose(gradient.doubles(visible), expected, 1e-6)
            #expect(gradient.doubles(hidden).allSatisfy { $0 == 0 })
        }
    }

    @Test("cross entropy and its gradient", arguments: kernelSets)
    func crossEntropy(set: KernelChoice) {
        let logits = Vector.random(3 * 256, seed: 7)
        let before = logits.doubles()
        let targets: [UInt8] = [99, 0, 255, 17]
        let loss = set.kernels.crossEntropy(
            logits: logits.floats, vocabulary: 256, targets: targets, firstTarget: 1,
            gradientScale: 0.25)
        var expected = 0.0
        for row in 0..<3 {
            let values = Array(before[row * 256..<(row + 1) * 256])
            let target = Int(targets[row + 1])
            expected += ScalarReference.crossEntropy(values, target: target)
            var gradient = ScalarReference.softmax(values)
            gradient[target] -= 1
            expectClose(
                logits.doubles(row * 256..<(row + 1) * 256), gradient.map { $0 * 0.25 }, 1e-6)
        }
        #expect(abs(loss - expected) < 1e-5)
    }

    @Test("column sums, repeated rows, residual sums", arguments: kernelSets)
    func rows(set: KernelChoice) {
        for width in [8, 32, 40, 136] {
            let (matrix, row) = (Vector.random(5 * width, seed: 8), Vector.random(width, seed: 9))
            let sums = Vector(count: width)
            set.kernels.addColumnSums(of: matrix.floats, to: sums.floats)
            let result = Vector(count: 5 * width)
            set.kernels.sum(matrix.floats, bias: row.floats, into: result.floats)
            let repeated = Vector(count: 5 * width)
            set.kernels.repeatRow(row.floats, into: repeated.floats)
            for column in 0..<width {
                let expected = (0..<5).reduce(Float(0)) { $0 + matrix[$1 * width + column] }
                #expect(sums[column] == expected)
                for index in stride(from: column, to: 5 * width, by: width) {
                    #expect(result[index] == matrix[index] + row[column])
                    #expect(repeated[index] == row[column])
                }
            }
        }
    }

    @Test(
        "AdamW's lanes equal its scalar form bit by bit, every length 0...67", arguments: kernelSets
    )
    func adamW(set: KernelChoice) {
        let update = AdamWUpdate(
            beta1: 0.9, beta2: 0.95, epsilon: 1e-8, gradientScale: 0.7, stepSize: 1e-2,
            reciprocalRoot: 1.3, keep: 0.999)
        for count in 0...67 {
            let lanes = (0..<4).map { Vector.random(count, seed: UInt64(count * 4 + $0), shift: 4) }
            let scalar = (0..<4).map {
                Vector.random(count, seed: UInt64(count * 4 + $0), shift: 4)
            }
            set.kernels.adamW(
                update, parameters: lanes[0].floats, gradients: lanes[1].floats,
                first: lanes[2].floats, second: lanes[3].floats)
            for index in 0..<count {
                update.applyScalar(
                    index, scalar[0].floats, scalar[1].floats, scalar[2].floats, scalar[3].floats)
            }
            for vector in 0..<4 {
                #expect(lanes[vector].bits == scalar[vector].bits, "\(count) elements")
            }
        }
    }

    @Test("every instruction set gives the baseline's bytes")
    func setsAgree() {
        func run(_ kernels: any ElementwiseKernels.Type) -> [[UInt32]] {
            let hidden = Vector.random(512, seed: 1, scale: 3)
            let activated = Vector(count: 512)
            kernels.geluForward(hidden: hidden.floats, activated: activated.floats)
            let scores = Vector.random(64 * 64, seed: 2, scale: 5)
            kernels.softmaxForward(
                scores: scores.floats, rowStride: 64, queries: 0..<64, keys: 64, scale: 0.2)
            let (weight, bias) = (Vector.random(64, seed: 3), Vector.random(64, seed: 4))
            let (normed, statistics) = (Vector(count: 512), Vector(count: 16))
            kernels.layerNormForward(
                input: activated.floats, weight: weight.floats, bias: bias.floats,
                output: normed.floats, statistics: statistics.floats)
            let gradient = Vector.random(512, seed: 5)
            kernels.layerNormBackward(
                outputGradient: gradient.floats, input: activated.floats, weight: weight.floats,
                statistics: statistics.floats, inputGradient: normed.floats,
                weightGradient: weight.floats, biasGradient: bias.floats)
            let logits = Vector.random(512, seed: 6, scale: 4)
            let loss = kernels.crossEntropy(
                logits: logits.floats, vocabulary: 256, targets: [3, 200], firstTarget: 0,
                gradientScale: 0.5)
            return [
                hidden.bits, activated.bits, scores.bits, normed.bits, statistics.bits,
                weight.bits, bias.bits, logits.bits, [Float(loss).bitPattern],
            ]
        }
        let baseline = run(KernelsBaseline.self)
        for kernels in SelectedKernels.available {
            #expect(run(kernels) == baseline, "\(kernels.name)")
        }
    }
}

private let kernelSets = SelectedKernels.available.map { KernelChoice(kernels: $0) }

struct KernelChoice: CustomTestStringConvertible, Sendable {
    let kernels: any ElementwiseKernels.Type
    var testDescription: String { kernels.name }
}

/// Floats with their storage.
struct Vector {
    private let storage: FloatStorage
    var floats: Floats { storage.floats }

    init(count: Int) {
        storage = FloatStorage(count: count)
    }

    init(_ values: [Float]) {
        self.init(count: values.count)
        for index in values.indices {
            floats[index] = values[index]
        }
    }

    static func random(
        _ count: Int, seed: UInt64, scale: Float = 1, shift: Float = 0
    ) -> Vector {
        var generator = SeededGenerator(seed: seed)
        return Vector((0..<count).map { _ in generator.normal() * scale + shift })
    }

    subscript(index: Int) -> Float { floats[index] }

    var bits: [UInt32] { (0..<floats.count).map { floats[$0].bitPattern } }

    func doubles(_ range: Range<Int>? = nil) -> [Double] {
        (range ?? 0..<floats.count).map { Double(floats[$0]) }
    }
}

/// Absolute difference, relative above one.
private func expectClose(
    _ values: [Double], _ expected: [Double], _ tolerance: Double,
    location: SourceLocation = #_sourceLocation
) {
    for (value, wanted) in zip(values, expected)
    where abs(value - wanted) > tolerance * max(1, abs(wanted)) {
        Issue.record("\(value) instead of \(wanted)", sourceLocation: location)
        return
    }
}
