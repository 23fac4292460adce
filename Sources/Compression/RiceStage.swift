/// The rice stage of a `topK` body.
///
/// Bytes: the parameter r (0 to 11); the levels of all groups as in the body; then one bit stream,
/// least significant bit first: per entry the gap to the position after the previous one (in its
/// group) as a Rice code (quotient gap >> r in unary ones, a zero, r low bits), the level bit, the
/// sign bit. Unused bits of the last byte are zero.
enum RiceStage {
    private static let largestParameter = 11

    /// Encodes a valid body in at most `limit` bytes; nil if it does not fit.
    static func encode(
        _ body: UnsafeRawBufferPointer, elements: Int, into output: UnsafeMutableRawPointer,
        limit: Int
    ) -> Int? {
        let levels = SparseFormat.groups(elements) * 4
        let gaps = unsafe gaps(body, elements)
        let parameter = bestParameter(gaps)
        let bits = gaps.reduce(0) { $0 + $1 >> parameter + parameter + 3 }
        let total = 1 + levels + (bits + 7) / 8
        guard total <= limit else { return nil }
        // SAFETY: `total` bytes are written, at most `limit`.
        unsafe output.storeBytes(of: UInt8(parameter), as: UInt8.self)
        unsafe (output + 1).copyMemory(
            from: body.baseAddress.unsafelyUnwrapped, byteCount: levels)
        var writer = unsafe BitWriter(output + 1 + levels)
        for (index, gap) in gaps.enumerated() {
            let code = unsafe body.loadUnaligned(
                fromByteOffset: levels + index * 2, as: UInt16.self)
            var quotient = gap >> parameter
            while quotient >= 32 {
                unsafe writer.write(0xFFFF_FFFF, 32)
                quotient -= 32
            }
            unsafe writer.write(1 << UInt64(quotient) - 1, quotient + 1)
            let low = UInt64(gap & (1 << parameter - 1))
            unsafe writer.write(low | UInt64(code >> 12 & 3) << UInt64(parameter), parameter + 2)
        }
        unsafe writer.finish()
        return total
    }

    /// Decodes to a body of exactly `body.count` bytes; nil if the stream is malformed.
    static func decode(
        _ input: UnsafeRawBufferPointer, elements: Int, into body: UnsafeMutableRawBufferPointer
    ) -> Int? {
        let levels = SparseFormat.groups(elements) * 4
        guard input.count > 1 + levels, unsafe input[0] <= largestParameter else { return nil }
        let parameter = unsafe Int(input[0])
        // SAFETY: the levels and every entry lie inside a body of bodyBytes(elements) bytes.
        unsafe UnsafeMutableRawBufferPointer(rebasing: body[..<levels]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: input[1..<(1 + levels)]))
        var reader = unsafe BitReader(UnsafeRawBufferPointer(rebasing: input[(1 + levels)...]))
        var entry = levels
        for group in 0..<SparseFormat.groups(elements) {
            let size = min(
                SparseFormat.groupElements, elements - group * SparseFormat.groupElements)
            var next = 0
            for _ in 0..<SparseFormat.kept(size) {
                let longest = (size - next) >> parameter
                guard let quotient = unsafe reader.unary(atMost: longest),
                    let rest = unsafe reader.read(parameter + 2)
                else { return nil }
                let gap = quotient << parameter | rest & (1 << parameter - 1)
                let position = next + gap
                guard position < size else { return nil }
                let code = position | (rest >> parameter) << 12
                unsafe body.storeBytes(of: UInt16(code), toByteOffset: entry, as: UInt16.self)
                entry += 2
                next = position + 1
            }
        }
        return unsafe reader.isAtCanonicalEnd ? entry : nil
    }

    private static func gaps(_ body: UnsafeRawBufferPointer, _ elements: Int) -> [Int] {
        let groups = SparseFormat.groups(elements)
        var entry = groups * 4
        var result: [Int] = []
        result.reserveCapacity(SparseFormat.kept(elements))
        for group in 0..<groups {
            var next = 0
            let size = min(
                SparseFormat.groupElements, elements - group * SparseFormat.groupElements)
            for _ in 0..<SparseFormat.kept(size) {
                // SAFETY: the body is valid for `elements`.
                let code = unsafe body.loadUnaligned(fromByteOffset: entry, as: UInt16.self)
                let position = Int(code & 0xFFF)
                result.append(position - next)
                next = position + 1
                entry += 2
            }
        }
        return result
    }

    private static func bestParameter(_ gaps: [Int]) -> Int {
        var best = (parameter: 0, bits: Int.max)
        for parameter in 0...largestParameter {
            let bits = gaps.reduce(0) { $0 + $1 >> parameter + parameter }
            if bits < best.bits { best = (parameter, bits) }
        }
        return best.parameter
    }
}

/// Appends bits, least significant first.
@unsafe
private struct BitWriter {
    private var output: UnsafeMutableRawPointer
    private var pending: UInt64 = 0
    private var count = 0

    init(_ output: UnsafeMutableRawPointer) { unsafe self.output = output }

    /// Up to 33 bits.
    mutating func write(_ bits: UInt64, _ size: Int) {
        // SAFETY: the caller has sized the output for all bits.
        unsafe pending |= bits << UInt64(count)
        unsafe count += size
        while unsafe count >= 8 {
            unsafe output.storeBytes(of: UInt8(truncatingIfNeeded: pending), as: UInt8.self)
            unsafe output += 1
            unsafe pending >>= 8
            unsafe count -= 8
        }
    }

    mutating func finish() {
        if unsafe count > 0 { unsafe write(0, 8 - count) }
    }
}

/// Takes bits, least significant first.
@unsafe
private struct BitReader {
    private let input: UnsafeRawBufferPointer
    private var position = 0

    init(_ input: UnsafeRawBufferPointer) { unsafe self.input = input }

    private mutating func bit() -> Int? {
        guard unsafe position < input.count * 8 else { return nil }
        // SAFETY: checked above.
        let value = unsafe Int(input[position / 8] >> UInt8(position % 8) & 1)
        unsafe position += 1
        return value
    }

    mutating func unary(atMost limit: Int) -> Int? {
        var ones = 0
        while let bit = unsafe bit() {
            if bit == 0 { return ones }
            ones += 1
            if ones > limit { return nil }
        }
        return nil
    }

    mutating func read(_ size: Int) -> Int? {
        var value = 0
        for index in 0..<size {
            guard let bit = unsafe bit() else { return nil }
            value |= bit << index
        }
        return value
    }

    /// Whether only zero bits of the last byte are left.
    var isAtCanonicalEnd: Bool {
        guard unsafe (position + 7) / 8 == input.count else { return false }
        let used = unsafe position % 8
        return unsafe used == 0 || input[input.count - 1] >> UInt8(used) == 0
    }
}
