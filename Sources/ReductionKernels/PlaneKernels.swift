// Splitting of floats into byte planes, and of one plane into bit planes. Exponents of a gradient
// take few values; mantissas are noise. Apart, an entropy stage finds the former and skips the latter.

extension KernelSet {
    /// Splits `count` elements of `width` (4 or 2) bytes into byte planes, the highest first, each
    /// `count` bytes long. Elements are rotated left by one bit before: the sign leaves the byte
    /// of the exponent.
    @_alwaysEmitIntoClient
    static func splitBody(
        _ input: UnsafeRawPointer, _ width: Int, _ count: Int, _ planes: UnsafeMutableRawPointer
    ) {
        // SAFETY: the input holds count x width bytes, the planes as many.
        if width == 4 {
            var i = 0
            while i &+ 16 <= count {
                let v = unsafe input.loadUnaligned(
                    fromByteOffset: i &* 4, as: SIMD16<UInt32>.self)
                let r = (v &<< 1) | (v &>> 31)
                unsafe planes.storeBytes(
                    of: lowBytes(r &>> 24), toByteOffset: i, as: SIMD16<UInt8>.self)
                unsafe planes.storeBytes(
                    of: lowBytes(r &>> 16), toByteOffset: count &+ i, as: SIMD16<UInt8>.self)
                unsafe planes.storeBytes(
                    of: lowBytes(r &>> 8), toByteOffset: 2 &* count &+ i, as: SIMD16<UInt8>.self)
                unsafe planes.storeBytes(
                    of: lowBytes(r), toByteOffset: 3 &* count &+ i, as: SIMD16<UInt8>.self)
                i &+= 16
            }
            while i < count {
                let v = unsafe load(input, i, as: UInt32.self)
                let r = (v &<< 1) | (v &>> 31)
                unsafe store(UInt8(truncatingIfNeeded: r &>> 24), planes, i)
                unsafe store(UInt8(truncatingIfNeeded: r &>> 16), planes, count &+ i)
                unsafe store(UInt8(truncatingIfNeeded: r &>> 8), planes, 2 &* count &+ i)
                unsafe store(UInt8(truncatingIfNeeded: r), planes, 3 &* count &+ i)
                i &+= 1
            }
        } else {
            for i in 0..<count {
                let v = unsafe load(input, i, as: UInt16.self)
                let r = (v &<< 1) | (v &>> 15)
                unsafe store(UInt8(truncatingIfNeeded: r &>> 8), planes, i)
                unsafe store(UInt8(truncatingIfNeeded: r), planes, count &+ i)
            }
        }
    }

    /// The inverse of `splitBody`.
    @_alwaysEmitIntoClient
    static func joinBody(
        _ planes: UnsafeRawPointer, _ width: Int, _ count: Int, _ output: UnsafeMutableRawPointer
    ) {
        // SAFETY: as in `splitBody`.
        if width == 4 {
            var i = 0
            while i &+ 16 <= count {
                let a = unsafe planes.loadUnaligned(
                    fromByteOffset: i, as: SIMD16<UInt8>.self)
                let b = unsafe planes.loadUnaligned(
                    fromByteOffset: count &+ i, as: SIMD16<UInt8>.self)
                let c = unsafe planes.loadUnaligned(
                    fromByteOffset: 2 &* count &+ i, as: SIMD16<UInt8>.self)
                let d = unsafe planes.loadUnaligned(
                    fromByteOffset: 3 &* count &+ i, as: SIMD16<UInt8>.self)
                let high = (widened(a) &<< 24) | (widened(b) &<< 16)
                let r = high | (widened(c) &<< 8) | widened(d)
                unsafe output.storeBytes(
                    of: (r &>> 1) | (r &<< 31), toByteOffset: i &* 4, as: SIMD16<UInt32>.self)
                i &+= 16
            }
            while i < count {
                let a = unsafe UInt32(load(planes, i, as: UInt8.self)) &<< 24
                let b = unsafe UInt32(load(planes, count &+ i, as: UInt8.self)) &<< 16
                let c = unsafe UInt32(load(planes, 2 &* count &+ i, as: UInt8.self)) &<< 8
                let d = unsafe UInt32(load(planes, 3 &* count &+ i, as: UInt8.self))
                let r = a | b | c | d
                unsafe store((r &>> 1) | (r &<< 31), output, i)
                i &+= 1
            }
        } else {
            for i in 0..<count {
                let high = unsafe UInt16(load(planes, i, as: UInt8.self)) &<< 8
                let r = unsafe high | UInt16(load(planes, count &+ i, as: UInt8.self))
                unsafe store((r &>> 1) | (r &<< 15), output, i)
            }
        }
    }

    /// Splits `count` bytes (a multiple of 8) into 8 bit planes of count / 8 bytes, the lowest bit
    /// first, after replacing each byte b by its Gray code b ^ (b >> 1): neighbouring exponents
    /// then differ in one bit, and the planes have longer runs.
    @_alwaysEmitIntoClient
    static func splitBitsBody(
        _ input: UnsafeRawPointer, _ count: Int, _ planes: UnsafeMutableRawPointer
    ) {
        let size = count / 8
        // SAFETY: `count` bytes each.
        for i in 0..<size {
            let x = unsafe load(input, i, as: UInt64.self)
            let t = transposed(x ^ ((x &>> 1) & 0x7F7F_7F7F_7F7F_7F7F))
            for bit in 0..<8 {
                unsafe store(
                    UInt8(truncatingIfNeeded: t &>> UInt64(bit &* 8)), planes, bit &* size &+ i)
            }
        }
    }

    /// The inverse of `splitBitsBody`.
    @_alwaysEmitIntoClient
    static func joinBitsBody(
        _ planes: UnsafeRawPointer, _ count: Int, _ output: UnsafeMutableRawPointer
    ) {
        let size = count / 8
        // SAFETY: `count` bytes each.
        for i in 0..<size {
            var t: UInt64 = 0
            for bit in 0..<8 {
                t |= unsafe UInt64(load(planes, bit &* size &+ i, as: UInt8.self))
                    &<< UInt64(bit &* 8)
            }
            var x = transposed(t)
            x ^= (x &>> 1) & 0x7F7F_7F7F_7F7F_7F7F
            x ^= (x &>> 2) & 0x3F3F_3F3F_3F3F_3F3F
            x ^= (x &>> 4) & 0x0F0F_0F0F_0F0F_0F0F
            unsafe store(x, output, i)
        }
    }

    /// The transpose of an 8 x 8 bit matrix whose rows are the bytes (Warren, Hacker's Delight,
    /// section 7-3).
    @_alwaysEmitIntoClient @_transparent
    static func transposed(_ matrix: UInt64) -> UInt64 {
        var x = matrix
        var t = (x ^ (x &>> 7)) & 0x00AA_00AA_00AA_00AA
        x ^= t ^ (t &<< 7)
        t = (x ^ (x &>> 14)) & 0x0000_CCCC_0000_CCCC
        x ^= t ^ (t &<< 14)
        t = (x ^ (x &>> 28)) & 0x0000_0000_F0F0_F0F0
        return x ^ t ^ (t &<< 28)
    }

    /// How many of `count` bytes are zero.
    @_alwaysEmitIntoClient
    static func zerosBody(_ input: UnsafeRawPointer, _ count: Int) -> Int {
        var zeros: UInt32 = 0
        // SAFETY: `count` bytes.
        for i in 0..<count { zeros &+= unsafe load(input, i, as: UInt8.self) == 0 ? 1 : 0 }
        return Int(zeros)
    }
}
