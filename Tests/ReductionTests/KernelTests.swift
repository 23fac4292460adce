import Reduction
import ReductionKernels
import Testing

/// Runs kernels of one instruction set over arrays, at any byte offset.
struct Runner {
    let set: any KernelSet.Type
    var offset = 0

    func encode(_ values: [Float], as kind: ElementKind) -> ScalarReference.Encoded {
        unsafe withTarget(kind, values.count) { target in
            unsafe placed(bytes(of: values)) {
                unsafe set.encode($0, count: values.count, into: target)
            }
        }.encoded
    }

    func decode(_ encoded: ScalarReference.Encoded, as kind: ElementKind, count: Int) -> [Float] {
        let output = unsafe withTarget(.fp32, count) { target in
            unsafe withSource(encoded, kind, factor: 1) { source in
                unsafe set.decode(source, count: count, into: target.values)
            }
        }
        return floats(output.encoded.bytes)
    }

    func reduce(
        _ sources: [(ElementKind, ScalarReference.Encoded)], factors: [Float], count: Int,
        as kind: ElementKind, limit: Float = .infinity
    ) -> (encoded: ScalarReference.Encoded, result: Double) {
        unsafe withTarget(kind, count) { target in
            var operands: [KernelSource] = unsafe []
            return unsafe reduce(sources[...], factors[...], &operands, count, limit, target)
        }
    }

    private func reduce(
        _ sources: ArraySlice<(ElementKind, ScalarReference.Encoded)>,
        _ factors: ArraySlice<Float>, _ operands: inout [KernelSource], _ count: Int,
        _ limit: Float, _ target: KernelTarget
    ) -> Double {
        guard let first = sources.first, let factor = factors.first else {
            return unsafe set.reduce(
                operands, sourceCount: operands.count, count: count, limit: limit, into: target)
        }
        return unsafe withSource(first.1, first.0, factor: factor) { source in
            unsafe operands.append(source)
            return unsafe reduce(
                sources.dropFirst(), factors.dropFirst(), &operands, count, limit, target)
        }
    }

    func trimmedMean(_ sources: [[Float]], trim: Int) -> [Float] {
        let count = sources[0].count
        let encoded = sources.map { ScalarReference.encode($0, as: .fp32) }
        let output = unsafe withTarget(.fp32, count) { target in
            var operands: [KernelSource] = unsafe []
            return unsafe gather(encoded[...], &operands) {
                unsafe set.trimmedMean(
                    $0, sourceCount: $0.count, count: count, trim: trim, into: target)
            }
        }
        return floats(output.encoded.bytes)
    }

    private func gather(
        _ sources: ArraySlice<ScalarReference.Encoded>, _ operands: inout [KernelSource],
        _ body: ([KernelSource]) -> Double
    ) -> Double {
        guard let first = sources.first else { return unsafe body(operands) }
        return unsafe withSource(first, .fp32, factor: 1) { source in
            unsafe operands.append(source)
            return unsafe gather(sources.dropFirst(), &operands, body)
        }
    }

    func encodeWithResidue(
        _ contribution: [Float], residue: inout [Float], as kind: ElementKind
    ) -> (encoded: ScalarReference.Encoded, result: Double) {
        let count = contribution.count
        var rest = residue
        let output = unsafe withTarget(kind, count) { target in
            unsafe placed(bytes(of: contribution)) { input in
                unsafe rest.withUnsafeMutableBytes {
                    unsafe set.encodeWithResidue(
                        input, residue: $0.baseAddress!, count: count, into: target)
                }
            }
        }
        residue = rest
        return output
    }

    func accumulate(_ accumulator: [Float], _ source: [Float]) -> [Float] {
        let copy = UnsafeMutableRawBufferPointer.allocate(
            byteCount: accumulator.count * 4 + offset + 1, alignment: 64)
        defer { unsafe copy.deallocate() }
        let base = unsafe copy.baseAddress! + offset
        unsafe base.copyMemory(from: accumulator, byteCount: accumulator.count * 4)
        unsafe placed(bytes(of: source)) {
            unsafe set.accumulate(base, $0, count: source.count)
        }
        return unsafe floats(
            Array(UnsafeRawBufferPointer(start: base, count: accumulator.count * 4)))
    }

    func sumOfSquares(_ values: [Float]) -> Double {
        unsafe placed(bytes(of: values)) { unsafe set.sumOfSquares($0, count: values.count) }
    }

    private func withTarget<R>(
        _ kind: ElementKind, _ count: Int, _ body: (KernelTarget) -> R
    ) -> (encoded: ScalarReference.Encoded, result: R) {
        let scaleBytes = kind.scaleBytes(count)
        let valueBytes = kind.valueBytes(count)
        // Guard bytes on both sides show writes outside the operand.
        let room = UnsafeMutableRawBufferPointer.allocate(
            byteCount: scaleBytes + valueBytes + 128 + offset, alignment: 64)
        defer { unsafe room.deallocate() }
        for index in room.indices { unsafe room[index] = 0xA5 }
        let scales = unsafe room.baseAddress! + offset + 32
        let values = unsafe scales + scaleBytes + 32
        let result = unsafe body(KernelTarget(values: values, scales: scales, kind: kind))
        for index in 0..<32 {
            #expect(unsafe room[index + offset] == 0xA5, "write before the operand")
            #expect(unsafe room[offset + 32 + scaleBytes + index] == 0xA5, "write between")
            let after = offset + 64 + scaleBytes + valueBytes + index
            #expect(unsafe room[after] == 0xA5, "write beyond the operand")
        }
        let written = unsafe UnsafeRawBufferPointer(start: values, count: valueBytes)
        let scaleWords = unsafe UnsafeRawBufferPointer(start: scales, count: scaleBytes)
        return (
            ScalarReference.Encoded(
                scales: unsafe floats(Array(scaleWords)), bytes: unsafe Array(written)),
            result
        )
    }

    private func withSource<R>(
        _ encoded: ScalarReference.Encoded, _ kind: ElementKind, factor: Float,
        _ body: (KernelSource) -> R
    ) -> R {
        unsafe placed(encoded.bytes) { values in
            unsafe placed(bytes(of: encoded.scales)) { scales in
                unsafe body(
                    KernelSource(values: values, scales: scales, factor: factor, kind: kind))
            }
        }
    }

    /// A copy of `bytes` at this runner's offset from an aligned address.
    private func placed<R>(_ bytes: [UInt8], _ body: (UnsafeRawPointer) -> R) -> R {
        let room = UnsafeMutableRawBufferPointer.allocate(
            byteCount: bytes.count + offset + 1, alignment: 64)
        defer { unsafe room.deallocate() }
        let base = unsafe room.baseAddress! + offset
        unsafe base.copyMemory(from: bytes, byteCount: bytes.count)
        return unsafe body(UnsafeRawPointer(base))
    }
}

func bytes(of values: [Float]) -> [UInt8] {
    unsafe values.withUnsafeBytes { unsafe Array($0) }
}

func floats(_ bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: 4).map { start in
        Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) })
    }
}

/// Equal bit for bit; NaN payloads are part of it.
func same(_ left: [Float], _ right: [Float]) -> Bool {
    left.map(\.bitPattern) == right.map(\.bitPattern)
}

func same(_ left: ScalarReference.Encoded, _ right: ScalarReference.Encoded) -> Bool {
    same(left.scales, right.scales) && left.bytes == right.bytes
}

let lengths = Array(0...67) + [255, 256, 257, 511, 512, 513, 1_000, 4_099]

@Suite("every kernel equals its scalar twin on every instruction set")
struct KernelTests {
    @Test("encode and decode, all lengths and odd offsets", arguments: ElementKind.allCases)
    func roundTrip(kind: ElementKind) {
        var generator = SplitMix(seed: 7)
        for set in Kernels.available {
            for count in lengths where count > 0 {
                let runner = Runner(set: set, offset: count % 5)
                let values = generator.values(count, wild: count % 3 == 0)
                let expected = ScalarReference.encode(values, as: kind)
                let encoded = runner.encode(values, as: kind)
                #expect(same(encoded, expected), "\(set.name) \(kind) encode \(count)")
                let decoded = runner.decode(encoded, as: kind, count: count)
                let twin = ScalarReference.decode(expected, as: kind, count: count)
                #expect(same(decoded, twin), "\(set.name) \(kind) decode \(count)")
            }
        }
    }

    @Test("edges of the number formats", arguments: ElementKind.allCases)
    func edges(kind: ElementKind) {
        for set in Kernels.available {
            let runner = Runner(set: set, offset: 1)
            for value in edgeValues + nonFinite {
                for count in [1, 17, 64] {
                    let values = [Float](repeating: value, count: count)
                    let expected = ScalarReference.encode(values, as: kind)
                    let encoded = runner.encode(values, as: kind)
                    #expect(same(encoded, expected), "\(set.name) \(kind) \(value)")
                    let decoded = runner.decode(encoded, as: kind, count: count)
                    // Rounding may carry the very largest numbers to infinity, as in bf16.
                    if value.magnitude > 3.3e38 && value.isFinite { continue }
                    #expect(!decoded.contains { !$0.isFinite } == value.isFinite)
                }
            }
            let mixed = edgeValues + edgeValues.map { -$0 }
            #expect(
                same(runner.encode(mixed, as: kind), ScalarReference.encode(mixed, as: kind)))
        }
    }

    @Test("every half-precision pattern decodes exactly")
    func everyHalf() {
        let bytes = (0..<65_536).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
        for kind in [ElementKind.fp16, .bf16] {
            let encoded = ScalarReference.Encoded(scales: [], bytes: bytes)
            let expected = ScalarReference.decode(encoded, as: kind, count: 65_536)
            for set in Kernels.available {
                let got = Runner(set: set).decode(encoded, as: kind, count: 65_536)
                #expect(same(got, expected), "\(set.name) \(kind)")
            }
        }
    }

    @Test("weighted means of 1 to 16 sources of mixed encodings", arguments: 1...16)
    func means(sourceCount: Int) {
        var generator = SplitMix(seed: UInt64(sourceCount))
        for count in [1, 15, 16, 31, 64, 67, 256, 300, 1_025] {
            let kinds = (0..<sourceCount).map { _ in
                ElementKind.allCases[generator.below(ElementKind.allCases.count)]
            }
            let uniform = ElementKind.allCases[generator.below(ElementKind.allCases.count)]
            for choice in [kinds, kinds.map { _ in uniform }, kinds.map { _ in .fp32 }] {
                check(choice, count, &generator)
            }
        }
    }

    private func check(_ kinds: [ElementKind], _ count: Int, _ generator: inout SplitMix) {
        let sources = kinds.map { kind in
            (kind, ScalarReference.encode(generator.values(count), as: kind))
        }
        let factors = kinds.map { _ in generator.value().magnitude }
        let decoded = sources.map { ScalarReference.decode($0.1, as: $0.0, count: count) }
        let mean = ScalarReference.weightedSum(decoded, factors: factors)
        for kind in ElementKind.allCases {
            let expected = ScalarReference.encode(mean, as: kind)
            for set in Kernels.available {
                let runner = Runner(set: set, offset: count % 3)
                let got = runner.reduce(sources, factors: factors, count: count, as: kind)
                #expect(same(got.encoded, expected), "\(set.name) \(kinds) \(count) \(kind)")
                #expect(got.result == ScalarReference.sumOfSquares(mean))
            }
        }
    }

    @Test("a limit clips what is encoded and nothing else", arguments: ElementKind.allCases)
    func limits(kind: ElementKind) {
        var generator = SplitMix(seed: 99)
        for count in lengths where count > 0 {
            let kinds: [ElementKind] = count % 2 == 0 ? [kind, kind, kind] : [kind, .fp32, .bf16]
            let values = kinds.map { _ in generator.values(count, wild: count % 5 == 0) }
            let sources = zip(kinds, values).map { ($0, ScalarReference.encode($1, as: $0)) }
            let decoded = sources.map { ScalarReference.decode($0.1, as: $0.0, count: count) }
            let factors: [Float] = [0.5, 0.25, 0.25]
            let mean = ScalarReference.weightedSum(decoded, factors: factors)
            let typical = mean.map(\.magnitude).sorted()[count / 2]
            for limit in [typical, 1e-30, 0.01, Float.greatestFiniteMagnitude, .infinity]
            where limit > 0 {
                let clipped = ScalarReference.limited(mean, to: limit)
                for target in [kind, .fp32] {
                    let expected = ScalarReference.encode(clipped, as: target)
                    for set in Kernels.available {
                        let got = Runner(set: set, offset: count % 3).reduce(
                            sources, factors: factors, count: count, as: target, limit: limit)
                        #expect(same(got.encoded, expected), "\(set.name) \(count) \(limit)")
                        let squares = ScalarReference.sumOfSquares(mean)
                        #expect(got.result == squares || got.result.isNaN && squares.isNaN)
                    }
                }
            }
        }
    }

    @Test("a limit hides neither a NaN nor an infinity")
    func limitedPoison() {
        for set in Kernels.available {
            for bad in nonFinite {
                var values = [Float](repeating: 5, count: 300)
                values[17] = bad
                values[299] = bad
                let source = ScalarReference.encode(values, as: .fp32)
                let clipped = ScalarReference.limited(values, to: 1)
                for kind in ElementKind.allCases {
                    let got = Runner(set: set).reduce(
                        [(.fp32, source)], factors: [1], count: 300, as: kind, limit: 1)
                    #expect(!got.result.isFinite)
                    let back = ScalarReference.decode(got.encoded, as: kind, count: 300)
                    #expect(!back[17].isFinite && !back[299].isFinite, "\(set.name) \(kind)")
                    if kind == .fp32 { #expect(back[18] == clipped[18] && back[298] == 1) }
                }
            }
        }
    }

    @Test("accumulate and sum of squares, all lengths")
    func accumulate() {
        var generator = SplitMix(seed: 3)
        for set in Kernels.available {
            for count in lengths {
                let runner = Runner(set: set, offset: count % 7)
                let left = generator.values(count, wild: true)
                let right = generator.values(count, wild: true)
                let expected = zip(left, right).map { $0 + $1 }
                #expect(same(runner.accumulate(left, right), expected), "\(set.name) \(count)")
                #expect(runner.sumOfSquares(left) == ScalarReference.sumOfSquares(left))
            }
        }
    }

    @Test("a residue holds exactly what the encoding lost", arguments: ElementKind.allCases)
    func residue(kind: ElementKind) {
        var generator = SplitMix(seed: 11)
        for set in Kernels.available {
            for count in lengths where count > 0 {
                let contribution = generator.values(count)
                let before = generator.values(count)
                let sum = zip(before, contribution).map { $0 + $1 }
                let expected = ScalarReference.encode(sum, as: kind)
                let decoded = ScalarReference.decode(expected, as: kind, count: count)
                var rest = before
                let got = Runner(set: set, offset: 3).encodeWithResidue(
                    contribution, residue: &rest, as: kind)
                let lost = zip(sum, decoded).map { $0 - $1 }
                #expect(same(got.encoded, expected), "\(set.name) \(kind) \(count)")
                #expect(rest == lost, "\(set.name) \(kind) \(count)")
                #expect(got.result == ScalarReference.sumOfSquares(lost))
            }
        }
    }

    @Test("one NaN or infinity anywhere makes the sum of squares non-finite")
    func finiteCheck() {
        for set in Kernels.available {
            for bad in nonFinite {
                for position in [0, 15, 16, 255, 256, 299] {
                    var values = [Float](repeating: 1, count: 300)
                    values[position] = bad
                    #expect(!Runner(set: set).sumOfSquares(values).isFinite)
                    let clean = ScalarReference.encode(
                        [Float](repeating: 1, count: 300), as: .fp32)
                    let got = Runner(set: set).reduce(
                        [(.fp32, clean), (.fp32, ScalarReference.encode(values, as: .fp32))],
                        factors: [0.5, 0], count: 300, as: .int8)
                    #expect(!got.result.isFinite, "\(set.name) \(bad) at \(position)")
                }
            }
        }
    }
}
