internal import ReductionKernels

/// The body of a `topK` chunk. Per group of 4,096 elements (the last may be smaller) the k = ceil(n / 64)
/// largest magnitudes are kept, each as its position, its sign and one of two levels.
///
/// Body: for each group two bf16 levels (low, high); then for each group k little-endian u16:
/// position in the group (12 bits), bit 12 = the high level, bit 13 = negative. Positions ascend.
enum SparseFormat {
    /// Elements of one group.
    static let groupElements = 4_096
    /// One value in this many is kept.
    static let keepOneIn = 64

    /// Values kept of a group of `elements`.
    static func kept(_ elements: Int) -> Int { (elements + keepOneIn - 1) / keepOneIn }

    /// Groups of a chunk.
    static func groups(_ elements: Int) -> Int {
        (elements + groupElements - 1) / groupElements
    }

    /// Bytes of the body of a chunk. All groups but the last are whole and keep 64.
    static func bodyBytes(elements: Int) -> Int {
        groups(elements) * 4 + kept(elements) * 2
    }

    private static let poisoned: UInt16 = 0x7FC0
    private static let highBit: UInt16 = 1 << 12
    private static let signBit: UInt16 = 1 << 13
    private static let positionMask: UInt16 = 0xFFF

    /// Writes the body of the floats of `values` into `body`.
    static func encode(
        _ values: UnsafeRawBufferPointer, into body: UnsafeMutableRawBufferPointer
    ) {
        let elements = values.count / 4
        let groups = groups(elements)
        var entry = groups * 4
        // SAFETY: `body` holds bodyBytes(elements) bytes; each group lies inside `values`.
        unsafe withUnsafeTemporaryAllocation(of: UInt16.self, capacity: keepOneIn) { positions in
            for group in 0..<groups {
                let start = group * groupElements
                let size = min(groupElements, elements - start)
                let input = unsafe values.baseAddress.unsafelyUnwrapped + start * 4
                let count = kept(size)
                unsafe select(input, size, count, into: positions)
                let levels = unsafe fit(input, positions, count)
                unsafe body.storeBytes(of: levels.low, toByteOffset: group * 4, as: UInt16.self)
                unsafe body.storeBytes(
                    of: levels.high, toByteOffset: group * 4 + 2, as: UInt16.self)
                for index in 0..<count {
                    let position = unsafe positions[index]
                    let bits = unsafe load(input, Int(position), as: UInt32.self)
                    var code = position
                    if bits & 0x7FFF_FFFF >= levels.threshold { code |= highBit }
                    if bits >> 31 == 1 { code |= signBit }
                    unsafe body.storeBytes(of: code, toByteOffset: entry, as: UInt16.self)
                    entry += 2
                }
            }
        }
    }

    /// The positions of the `count` largest magnitudes, ascending; of equal ones the first.
    private static func select(
        _ input: UnsafeRawPointer, _ size: Int, _ count: Int,
        into positions: UnsafeMutableBufferPointer<UInt16>
    ) {
        // SAFETY: `size` floats from `input`; `count` <= positions.count.
        let (threshold, atThreshold) = unsafe threshold(input, size, count)
        var equals = atThreshold
        var found = 0
        for i in 0..<size where found < count {
            let magnitude = unsafe load(input, i, as: UInt32.self) & 0x7FFF_FFFF
            if magnitude > threshold || (magnitude == threshold && equals > 0) {
                if magnitude == threshold { equals -= 1 }
                unsafe positions[found] = UInt16(truncatingIfNeeded: i)
                found += 1
            }
        }
    }

    /// The `count`-th largest magnitude's bits, and how many equal to it belong to the selection:
    /// a radix selection over 11, 11 and 9 bits.
    private static func threshold(
        _ input: UnsafeRawPointer, _ size: Int, _ count: Int
    ) -> (bits: UInt32, equals: Int) {
        unsafe withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 2_048) { histogram in
            var prefix: UInt32 = 0
            var mask: UInt32 = 0
            var wanted = count
            for (shift, bits) in [(20, 11), (9, 11), (0, 9)] as [(UInt32, UInt32)] {
                // SAFETY: digits have at most 11 bits; a group's counts fit 16 bits.
                unsafe histogram.update(repeating: 0)
                for i in 0..<size {
                    let magnitude = unsafe load(input, i, as: UInt32.self) & 0x7FFF_FFFF
                    if magnitude & mask == prefix {
                        unsafe histogram[Int(magnitude >> shift & (1 << bits - 1))] += 1
                    }
                }
                var digit = 1 << Int(bits) - 1
                while unsafe wanted > Int(histogram[digit]) {
                    wanted -= unsafe Int(histogram[digit])
                    digit -= 1
                }
                prefix |= UInt32(digit) << shift
                mask |= (1 << bits - 1) << shift
            }
            return (prefix, wanted)
        }
    }

    /// The two levels of a group and the magnitude from which on the high one is used: two rounds
    /// of Lloyd's iteration from the mean, in Double and in position order.
    private static func fit(
        _ input: UnsafeRawPointer, _ positions: UnsafeMutableBufferPointer<UInt16>, _ count: Int
    ) -> (low: UInt16, high: UInt16, threshold: UInt32) {
        var sum = 0.0
        for index in 0..<count {
            // SAFETY: positions lie inside the group.
            let value = unsafe load(input, Int(positions[index]), as: Float.self)
            guard value.isFinite else { return (poisoned, poisoned, .max) }
            sum += Double(value.magnitude)
        }
        var threshold = Float(sum / Double(count))
        var low = 0.0
        var high = 0.0
        for _ in 0..<2 {
            var sums = (low: 0.0, high: 0.0)
            var counts = (low: 0.0, high: 0.0)
            for index in 0..<count {
                let magnitude = unsafe load(input, Int(positions[index]), as: Float.self).magnitude
                if magnitude >= threshold {
                    sums.high += Double(magnitude)
                    counts.high += 1
                } else {
                    sums.low += Double(magnitude)
                    counts.low += 1
                }
            }
            low = counts.low > 0 ? sums.low / counts.low : 0
            high = counts.high > 0 ? sums.high / counts.high : low
            threshold = Float((low + high) / 2)
        }
        return (bf16Bits(Float(low)), bf16Bits(Float(high)), threshold.bitPattern)
    }

    /// Checks a body of `elements` values: levels ordered and finite (or both poisoned), positions
    /// ascending inside their group, no unused bit set. Returns what is wrong and in which group.
    static func validate(
        _ body: UnsafeRawBufferPointer, elements: Int
    ) -> (what: String, group: Int)? {
        var entry = groups(elements) * 4
        for group in 0..<groups(elements) {
            let size = min(groupElements, elements - group * groupElements)
            // SAFETY: the caller has checked that the body holds bodyBytes(elements) bytes.
            let low = unsafe body.loadUnaligned(fromByteOffset: group * 4, as: UInt16.self)
            let high = unsafe body.loadUnaligned(fromByteOffset: group * 4 + 2, as: UInt16.self)
            let poison = low == poisoned && high == poisoned
            if !poison && (low > high || high > 0x7F80) { return ("levels out of order", group) }
            var next = 0
            for _ in 0..<kept(size) {
                let code = unsafe body.loadUnaligned(fromByteOffset: entry, as: UInt16.self)
                let position = Int(code & positionMask)
                if code >> 14 != 0 { return ("unused bits set", group) }
                if position < next || position >= size { return ("position out of order", group) }
                next = position + 1
                entry += 2
            }
        }
        return nil
    }

    /// Calls `visit` with the index and value of every kept element of a valid body, ascending.
    private static func forEach(
        _ body: UnsafeRawBufferPointer, elements: Int, _ visit: (Int, Float) -> Void
    ) {
        var entry = groups(elements) * 4
        for group in 0..<groups(elements) {
            let start = group * groupElements
            // SAFETY: as in `validate`.
            let low = unsafe body.loadUnaligned(fromByteOffset: group * 4, as: UInt16.self)
            let high = unsafe body.loadUnaligned(fromByteOffset: group * 4 + 2, as: UInt16.self)
            for _ in 0..<kept(min(groupElements, elements - start)) {
                let code = unsafe body.loadUnaligned(fromByteOffset: entry, as: UInt16.self)
                let magnitude = floatFromBF16(code & highBit != 0 ? high : low)
                visit(
                    start + Int(code & positionMask), code & signBit != 0 ? -magnitude : magnitude)
                entry += 2
            }
        }
    }

    /// Decodes a valid body to `output.count / 4` floats.
    static func decode(
        _ body: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) {
        // SAFETY: a valid body's indices lie below the element count.
        unsafe output.initializeMemory(as: UInt8.self, repeating: 0)
        unsafe forEach(body, elements: output.count / 4) { index, value in
            unsafe output.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
        }
    }

    /// residue -= decode(body), touching only the kept elements.
    static func subtract(
        _ body: UnsafeRawBufferPointer, from residue: UnsafeMutableRawBufferPointer
    ) {
        unsafe forEach(body, elements: residue.count / 4) { index, value in
            // SAFETY: as in `decode`.
            let old = unsafe residue.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
            unsafe residue.storeBytes(of: old - value, toByteOffset: index * 4, as: Float.self)
        }
    }
}
