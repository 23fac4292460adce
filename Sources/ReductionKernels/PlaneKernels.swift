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

    /// Splits `count` bytes (a multiple of 256) into 8 bit planes of count / 8 bytes, the lowest
    /// bit first, after replacing each byte b by its Gray code b ^ (b >> 1): neighbouring exponents
    /// then differ in one bit, and the planes have longer runs.
    ///
    /// Per group of 256 bytes, byte j (0 to 31) of a plane's 32 holds in bit r the bit of byte
    /// 32 r + j. So a group is 8 rows of 32 bytes, transposed in registers without a shuffle.
    @_alwaysEmitIntoClient
    static func splitBitsBody(
        _ input: UnsafeRawPointer, _ count: Int, _ planes: UnsafeMutableRawPointer
    ) {
        let size = count / 8
        var group = 0
        // SAFETY: `count` bytes each; a group covers 256 of the input and 32 of each plane.
        while group &* 256 < count {
            let base = unsafe input + group &* 256
            var a = unsafe gray(row(base, 0))
            var b = unsafe gray(row(base, 32))
            var c = unsafe gray(row(base, 64))
            var d = unsafe gray(row(base, 96))
            var e = unsafe gray(row(base, 128))
            var f = unsafe gray(row(base, 160))
            var g = unsafe gray(row(base, 192))
            var h = unsafe gray(row(base, 224))
            transpose(&a, &b, &c, &d, &e, &f, &g, &h)
            let out = unsafe planes + group &* 32
            unsafe setRow(a, out, 0)
            unsafe setRow(b, out, size)
            unsafe setRow(c, out, 2 &* size)
            unsafe setRow(d, out, 3 &* size)
            unsafe setRow(e, out, 4 &* size)
            unsafe setRow(f, out, 5 &* size)
            unsafe setRow(g, out, 6 &* size)
            unsafe setRow(h, out, 7 &* size)
            group &+= 1
        }
    }

    /// The inverse of `splitBitsBody`.
    @_alwaysEmitIntoClient
    static func joinBitsBody(
        _ planes: UnsafeRawPointer, _ count: Int, _ output: UnsafeMutableRawPointer
    ) {
        let size = count / 8
        var group = 0
        // SAFETY: as in `splitBitsBody`.
        while group &* 256 < count {
            let base = unsafe planes + group &* 32
            var a = unsafe row(base, 0)
            var b = unsafe row(base, size)
            var c = unsafe row(base, 2 &* size)
            var d = unsafe row(base, 3 &* size)
            var e = unsafe row(base, 4 &* size)
            var f = unsafe row(base, 5 &* size)
            var g = unsafe row(base, 6 &* size)
            var h = unsafe row(base, 7 &* size)
            transpose(&a, &b, &c, &d, &e, &f, &g, &h)
            let out = unsafe output + group &* 256
            unsafe setRow(binary(a), out, 0)
            unsafe setRow(binary(b), out, 32)
            unsafe setRow(binary(c), out, 64)
            unsafe setRow(binary(d), out, 96)
            unsafe setRow(binary(e), out, 128)
            unsafe setRow(binary(f), out, 160)
            unsafe setRow(binary(g), out, 192)
            unsafe setRow(binary(h), out, 224)
            group &+= 1
        }
    }

    @_alwaysEmitIntoClient @_transparent
    static func row(_ base: UnsafeRawPointer, _ offset: Int) -> SIMD4<UInt64> {
        // SAFETY: callers stay inside their operand.
        unsafe base.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
    }

    @_alwaysEmitIntoClient @_transparent
    static func setRow(_ row: SIMD4<UInt64>, _ base: UnsafeMutableRawPointer, _ offset: Int) {
        // SAFETY: callers stay inside their operand.
        unsafe base.storeBytes(of: row, toByteOffset: offset, as: SIMD4<UInt64>.self)
    }

    /// The Gray code of each byte.
    @_alwaysEmitIntoClient @_transparent
    static func gray(_ x: SIMD4<UInt64>) -> SIMD4<UInt64> {
        x ^ ((x &>> 1) & 0x7F7F_7F7F_7F7F_7F7F)
    }

    /// The bytes whose Gray codes are `gray`.
    @_alwaysEmitIntoClient @_transparent
    static func binary(_ gray: SIMD4<UInt64>) -> SIMD4<UInt64> {
        let x = gray ^ ((gray &>> 1) & 0x7F7F_7F7F_7F7F_7F7F)
        let y = x ^ ((x &>> 2) & 0x3F3F_3F3F_3F3F_3F3F)
        return y ^ ((y &>> 4) & 0x0F0F_0F0F_0F0F_0F0F)
    }

    /// Transposes, for each byte position, the 8 x 8 bit matrix of the eight rows.
    @_alwaysEmitIntoClient @_transparent
    static func transpose(
        _ a: inout SIMD4<UInt64>, _ b: inout SIMD4<UInt64>, _ c: inout SIMD4<UInt64>,
        _ d: inout SIMD4<UInt64>, _ e: inout SIMD4<UInt64>, _ f: inout SIMD4<UInt64>,
        _ g: inout SIMD4<UInt64>, _ h: inout SIMD4<UInt64>
    ) {
        swapBits(&a, &b, 1, 0x5555_5555_5555_5555)
        swapBits(&c, &d, 1, 0x5555_5555_5555_5555)
        swapBits(&e, &f, 1, 0x5555_5555_5555_5555)
        swapBits(&g, &h, 1, 0x5555_5555_5555_5555)
        swapBits(&a, &c, 2, 0x3333_3333_3333_3333)
        swapBits(&b, &d, 2, 0x3333_3333_3333_3333)
        swapBits(&e, &g, 2, 0x3333_3333_3333_3333)
        swapBits(&f, &h, 2, 0x3333_3333_3333_3333)
        swapBits(&a, &e, 4, 0x0F0F_0F0F_0F0F_0F0F)
        swapBits(&b, &f, 4, 0x0F0F_0F0F_0F0F_0F0F)
        swapBits(&c, &g, 4, 0x0F0F_0F0F_0F0F_0F0F)
        swapBits(&d, &h, 4, 0x0F0F_0F0F_0F0F_0F0F)
    }

    /// Exchanges the bits of `low` above `mask`, shifted down, with those of `high` under it.
    @_alwaysEmitIntoClient @_transparent
    static func swapBits(
        _ low: inout SIMD4<UInt64>, _ high: inout SIMD4<UInt64>, _ shift: UInt64, _ mask: UInt64
    ) {
        let t = ((low &>> shift) ^ high) & mask
        high ^= t
        low ^= t &<< shift
    }

    /// How many of the `count` / 8 whole 8-byte words are zero.
    @_alwaysEmitIntoClient
    static func zeroWordsBody(_ input: UnsafeRawPointer, _ count: Int) -> Int {
        var zeros = 0
        // SAFETY: `count` bytes.
        for i in 0..<(count / 8) { zeros &+= unsafe load(input, i, as: UInt64.self) == 0 ? 1 : 0 }
        return zeros
    }
}
