/// The scalar twins: each operation as plain, slow Swift over arrays, written from the
/// specification in `docs/reduction.md` and sharing no arithmetic with the kernels. Tests compare
/// every kernel with its twin, bit for bit.
package enum ScalarReference {
    /// An encoded operand.
    package struct Encoded: Equatable {
        package var scales: [Float]
        package var bytes: [UInt8]

        package init(scales: [Float] = [], bytes: [UInt8] = []) {
            self.scales = scales
            self.bytes = bytes
        }
    }

    /// Encodes `values`, block by block.
    package static func encode(_ values: [Float], as kind: ElementKind) -> Encoded {
        var result = Encoded()
        for start in stride(from: 0, to: values.count, by: 256) {
            let block = Array(values[start..<min(start + 256, values.count)])
            encode(block: block, as: kind, into: &result)
        }
        return result
    }

    private static func encode(
        block: [Float], as kind: ElementKind, into result: inout Encoded
    ) {
        switch kind {
        case .fp32:
            for value in block { append(value.bitPattern, 4, &result.bytes) }
        case .bf16:
            for value in block { append(UInt32(bf16(value)), 2, &result.bytes) }
        case .fp16:
            for value in block { append(UInt32(fp16(value)), 2, &result.bytes) }
        case .int8:
            let codes = integerCodes(block, top: 127, &result.scales)
            result.bytes += codes.map { UInt8(bitPattern: Int8($0)) }
        case .int4:
            let codes = integerCodes(block, top: 7, &result.scales)
            pack(codes.map { UInt8($0 + 8) }, &result.bytes)
        case .e3m0:
            pack(e3m0Codes(block, &result.scales), &result.bytes)
        }
    }

    /// Decodes `count` values.
    package static func decode(
        _ encoded: Encoded, as kind: ElementKind, count: Int
    ) -> [Float] {
        let bytes = encoded.bytes
        return (0..<count).map { index in
            let block = index / 256
            switch kind {
            case .fp32:
                return Float(bitPattern: number(bytes, index * 4, 4))
            case .bf16:
                return Float(bitPattern: number(bytes, index * 2, 2) << 16)
            case .fp16:
                return half(UInt16(number(bytes, index * 2, 2)))
            case .int8:
                return encoded.scales[block] * Float(Int8(bitPattern: bytes[index]))
            case .int4:
                return encoded.scales[block] * Float(Int(code(bytes, index, count)) - 8)
            case .e3m0:
                let code = code(bytes, index, count)
                var magnitude: Float = 0
                if code & 7 > 0 {
                    magnitude = 1
                    for _ in (code & 7)..<7 { magnitude /= 2 }
                }
                return encoded.scales[block] * (code & 8 != 0 ? -magnitude : magnitude)
            }
        }
    }

    /// acc = f_0 x_0, then acc = acc + f_i x_i.
    package static func weightedSum(_ sources: [[Float]], factors: [Float]) -> [Float] {
        sources[0].indices.map { index in
            var sum = factors[0] * sources[0][index]
            for source in 1..<sources.count {
                let product = factors[source] * sources[source][index]
                sum = sum + product
            }
            return sum
        }
    }

    /// Finite values beyond +-limit become +-limit.
    package static func limited(_ values: [Float], to limit: Float) -> [Float] {
        values.map { value in
            guard value.isFinite, value.magnitude > limit else { return value }
            return value < 0 ? -limit : limit
        }
    }

    /// The kernels' sum of squares: 16 fp32 partial sums per block of 256, added pairwise, blocks
    /// added as Double.
    package static func sumOfSquares(_ values: [Float]) -> Double {
        var total = 0.0
        for start in stride(from: 0, to: values.count, by: 256) {
            var lanes = [Float](repeating: 0, count: 16)
            for index in start..<min(start + 256, values.count) {
                let square = values[index] * values[index]
                lanes[(index - start) % 16] += square
            }
            while lanes.count > 1 {
                let half = lanes.count / 2
                lanes = (0..<half).map { lanes[$0] + lanes[$0 + half] }
            }
            total += Double(lanes[0])
        }
        return total
    }

    /// One outer Nesterov step and the blend.
    package static func outerStep(
        _ gradient: [Float], _ step: OuterStep, outer: [Float], momentum: [Float], live: [Float]
    ) -> (outer: [Float], momentum: [Float], live: [Float]) {
        var result = (outer: outer, momentum: momentum, live: live)
        for index in gradient.indices {
            let kept = step.momentum * momentum[index]
            let m = kept + gradient[index]
            let ahead = step.momentum * m
            let change = step.learningRate * (gradient[index] + ahead)
            let o = outer[index] - change
            let mine = step.alpha * live[index]
            let theirs = (1 - step.alpha) * o
            result.momentum[index] = m
            result.outer[index] = o
            result.live[index] = step.alpha == 0 ? o : mine + theirs
        }
        return result
    }

    /// Per element the mean of what is left after dropping `trim` values at either end.
    package static func trimmedMean(_ sources: [[Float]], trim: Int) -> [Float] {
        sources[0].indices.map { index in
            let sorted = sources.map { $0[index] }.sorted {
                $0.isTotallyOrdered(belowOrEqualTo: $1) && $0.bitPattern != $1.bitPattern
            }
            let kept = sorted[trim..<(sorted.count - trim)]
            var sum = kept.first ?? 0
            for value in kept.dropFirst() { sum += value }
            return sum / Float(kept.count)
        }
    }

    private static func bf16(_ value: Float) -> UInt16 {
        if value.isNaN { return UInt16(value.bitPattern >> 16) | 0x40 }
        let low = value.bitPattern & 0xFFFF
        let high = value.bitPattern >> 16
        let up = low > 0x8000 || (low == 0x8000 && high & 1 == 1)
        return UInt16(high + (up ? 1 : 0))
    }

    private static func fp16(_ value: Float) -> UInt16 {
        let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
        if value.isNaN { return sign | 0x7E00 }
        if value.isInfinite { return sign | 0x7C00 }
        let magnitude = value.magnitude
        if magnitude >= 65_504 { return sign | 0x7BFF }
        let exponent = max(-14, magnitude == 0 ? -14 : Int(magnitude.exponent))
        var unit = 1.0
        for _ in 0..<abs(exponent - 10) { unit *= exponent < 10 ? 0.5 : 2 }
        let steps = UInt16((Double(magnitude) / unit).rounded(.toNearestOrEven))
        if magnitude < Float(sign: .plus, exponent: -14, significand: 1) { return sign | steps }
        return sign | (UInt16(exponent + 14) << 10) + steps
    }

    private static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 != 0 ? -1 : 1
        let exponent = Int(bits >> 10 & 31)
        let fraction = Float(bits & 1023)
        if exponent == 31 {
            let word = UInt32(bits & 0x7FFF) << 13 | 0x7F80_0000 | UInt32(bits & 0x8000) << 16
            return Float(bitPattern: word)
        }
        var value = exponent == 0 ? fraction : fraction + 1_024
        for _ in min(max(exponent, 1), 25)..<25 { value /= 2 }
        for _ in 25..<max(exponent, 25) { value *= 2 }
        return sign * value
    }

    private static func integerCodes(
        _ block: [Float], top: Float, _ scales: inout [Float]
    ) -> [Int] {
        guard block.allSatisfy(\.isFinite) else {
            scales.append(Float(bitPattern: 0x7FC0_0000))
            return block.map { _ in 0 }
        }
        let largest = block.map(\.magnitude).max() ?? 0
        guard largest >= Float(sign: .plus, exponent: -119, significand: 1) else {
            scales.append(0)
            return block.map { _ in 0 }
        }
        scales.append(largest / top)
        let reciprocal = top / largest
        return block.map { Int(($0 * reciprocal).rounded(.toNearestOrEven)) }
    }

    private static func e3m0Codes(_ block: [Float], _ scales: inout [Float]) -> [UInt8] {
        guard block.allSatisfy(\.isFinite) else {
            scales.append(Float(bitPattern: 0x7FC0_0000))
            return block.map { _ in 0 }
        }
        let largest = block.map(\.magnitude).max() ?? 0
        guard largest >= Float(sign: .plus, exponent: -119, significand: 1) else {
            scales.append(0)
            return block.map { _ in 0 }
        }
        scales.append(largest)
        let reciprocal = Float(bitPattern: 0x3FB5_04F3) / largest
        return block.map { value in
            let scaled = (value * reciprocal).magnitude
            var level: UInt8 = 0
            var threshold: Float = 1
            for candidate in stride(from: UInt8(7), through: 1, by: -1) where level == 0 {
                if scaled >= threshold { level = candidate }
                threshold /= 2
            }
            return level > 0 && value < 0 ? level | 8 : level
        }
    }

    private static func pack(_ codes: [UInt8], _ bytes: inout [UInt8]) {
        let half = (codes.count + 1) / 2
        for index in 0..<half {
            let high = half + index < codes.count ? codes[half + index] : 0
            bytes.append(codes[index] | high << 4)
        }
    }

    private static func code(_ bytes: [UInt8], _ index: Int, _ count: Int) -> UInt8 {
        let block = index / 256
        let half = (min(256, count - block * 256) + 1) / 2
        let inside = index % 256
        let byte = bytes[block * 128 + inside % half]
        return inside < half ? byte & 15 : byte >> 4
    }

    private static func append(_ value: UInt32, _ size: Int, _ bytes: inout [UInt8]) {
        for index in 0..<size { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }

    private static func number(_ bytes: [UInt8], _ start: Int, _ size: Int) -> UInt32 {
        (0..<size).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) }
    }
}
