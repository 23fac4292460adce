import Reduction
import ReductionKernels
import Testing

/// Applies one mean through the kernels.
func apply(
    _ set: any KernelSet.Type, _ mean: ScalarReference.Encoded, _ kind: ElementKind,
    _ step: OuterStep, outer: inout [Float], momentum: inout [Float], live: inout [Float]
) -> (applied: Int, squares: Double) {
    let count = outer.count
    // SAFETY: every array holds `count` elements and lives through the call.
    return unsafe mean.bytes.withUnsafeBytes { values in
        unsafe mean.scales.withUnsafeBytes { scales in
            unsafe outer.withUnsafeMutableBytes { o in
                unsafe momentum.withUnsafeMutableBytes { m in
                    unsafe live.withUnsafeMutableBytes { l in
                        unsafe set.apply(
                            KernelSource(
                                values: values.baseAddress!,
                                scales: scales.baseAddress ?? values.baseAddress!,
                                factor: 1, kind: kind),
                            count: count, step: step, outer: o.baseAddress!,
                            momentum: m.baseAddress!, live: l.baseAddress!)
                    }
                }
            }
        }
    }
}

@Suite("the receiver's pass")
struct OuterStepTests {
    @Test("four Nesterov steps of gradient 1 as PyTorch takes them")
    func published() {
        for set in Kernels.available {
            for count in [1, 16, 300] {
                let mean = ScalarReference.encode([Float](repeating: 1, count: count), as: .fp32)
                var outer = [Float](repeating: 0, count: count)
                var momentum = outer
                var live = outer
                let step = OuterStep(learningRate: 0.7, momentum: 0.9, alpha: 0)
                for expected: Float in [-1.33, -3.227, -5.6343, -8.50087] {
                    let done = apply(
                        set, mean, .fp32, step, outer: &outer, momentum: &momentum, live: &live)
                    #expect(done.applied == count)
                    #expect(!outer.contains { abs($0 - expected) > 1e-5 }, "\(set.name)")
                    #expect(live == outer)
                }
            }
        }
    }

    @Test("equal bytes on every instruction set", arguments: ElementKind.allCases)
    func twin(kind: ElementKind) {
        var generator = SplitMix(seed: 31)
        for count in lengths where count > 0 {
            let mean = ScalarReference.encode(generator.values(count), as: kind)
            let gradient = ScalarReference.decode(mean, as: kind, count: count)
            let start = (generator.values(count), generator.values(count), generator.values(count))
            for alpha in [Float(0), 0.5] {
                let step = OuterStep(learningRate: 0.4, momentum: 0.9, alpha: alpha)
                let expected = ScalarReference.outerStep(
                    gradient, step, outer: start.0, momentum: start.1, live: start.2)
                for set in Kernels.available {
                    var (outer, momentum, live) = start
                    let done = apply(
                        set, mean, kind, step, outer: &outer, momentum: &momentum, live: &live)
                    #expect(done.applied == count)
                    #expect(done.squares == ScalarReference.sumOfSquares(gradient))
                    #expect(same(outer, expected.outer), "\(set.name) \(kind) \(count)")
                    #expect(same(momentum, expected.momentum))
                    #expect(same(live, expected.live))
                }
            }
        }
    }

    @Test("stops before the block that holds a NaN or an infinity")
    func stops() {
        for set in Kernels.available {
            for bad in [Float.nan, .infinity] {
                var values = [Float](repeating: 1, count: 700)
                values[600] = bad
                let mean = ScalarReference.encode(values, as: .fp32)
                var outer = [Float](repeating: 0, count: 700)
                var momentum = outer
                var live = outer
                let step = OuterStep(learningRate: 1, momentum: 0, alpha: 0)
                let done = apply(
                    set, mean, .fp32, step, outer: &outer, momentum: &momentum, live: &live)
                #expect(done.applied == 512)
                #expect(outer == (0..<700).map { $0 < 512 ? -1 : 0 })
            }
        }
    }
}

@Suite("trimmed mean and median")
struct TrimmedMeanTests {
    @Test("1 to 64 sources against a sort per element")
    func twin() {
        var generator = SplitMix(seed: 8)
        for sourceCount in [1, 2, 3, 4, 5, 7, 8, 16, 31, 64] {
            for count in [1, 15, 16, 67, 256, 300] {
                let sources = (0..<sourceCount).map { _ in
                    generator.values(count, wild: count == 67)
                }
                for trim in Set([0, (sourceCount - 1) / 4, (sourceCount - 1) / 2]) {
                    let expected = ScalarReference.trimmedMean(sources, trim: trim)
                    for set in Kernels.available {
                        let got = Runner(set: set).trimmedMean(sources, trim: trim)
                        #expect(same(got, expected), "\(set.name) \(sourceCount) \(trim)")
                    }
                }
            }
        }
    }

    @Test("a minority of NaN, infinities and giants does not reach the median")
    func robust() {
        for set in Kernels.available {
            let honest = [Float](repeating: 0.5, count: 100)
            let sources = [
                honest, [Float](repeating: .nan, count: 100), honest,
                [Float](repeating: -.infinity, count: 100), honest,
                [Float](repeating: 1e30, count: 100), honest,
            ]
            #expect(Runner(set: set).trimmedMean(sources, trim: 3) == honest)
        }
    }
}
