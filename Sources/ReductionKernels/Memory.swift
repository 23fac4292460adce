// Unaligned loads and stores of the kernels. Nothing else in this module touches memory except
// through these and through pointers to blocks of accumulators.

/// The vector in which the kernels think. Wider than a register on two of the three instruction
/// sets, which gives the compiler independent operations to overlap; results do not depend on it
/// because every operation is element-wise.
public typealias Lanes = SIMD16<Float>
public typealias LaneBits = SIMD16<UInt32>

/// The 16 floats which start at element `index`.
@_alwaysEmitIntoClient @_transparent
public func loadLanes(_ base: UnsafeRawPointer, _ index: Int) -> Lanes {
    // SAFETY: callers pass index + 16 <= count of the operand.
    unsafe base.loadUnaligned(fromByteOffset: index &* 4, as: Lanes.self)
}

/// Stores 16 floats from element `index` on.
@_alwaysEmitIntoClient @_transparent
public func storeLanes(_ value: Lanes, _ base: UnsafeMutableRawPointer, _ index: Int) {
    // SAFETY: callers pass index + 16 <= count of the operand.
    unsafe base.storeBytes(of: value, toByteOffset: index &* 4, as: Lanes.self)
}

/// The 8 floats which start at element `index`.
@_alwaysEmitIntoClient @_transparent
func loadEight(_ base: UnsafeRawPointer, _ index: Int) -> SIMD8<Float> {
    // SAFETY: callers pass index + 8 <= count of the operand.
    unsafe base.loadUnaligned(fromByteOffset: index &* 4, as: SIMD8<Float>.self)
}

/// Stores 8 floats from element `index` on.
@_alwaysEmitIntoClient @_transparent
func storeEight(_ value: SIMD8<Float>, _ base: UnsafeMutableRawPointer, _ index: Int) {
    // SAFETY: callers pass index + 8 <= count of the operand.
    unsafe base.storeBytes(of: value, toByteOffset: index &* 4, as: SIMD8<Float>.self)
}

/// Element `index` of an array of trivial elements without alignment.
@_alwaysEmitIntoClient @_transparent
public func load<T: BitwiseCopyable>(
    _ base: UnsafeRawPointer, _ index: Int, as type: T.Type
) -> T {
    // SAFETY: callers pass index < count of the operand.
    unsafe base.loadUnaligned(fromByteOffset: index &* MemoryLayout<T>.size, as: T.self)
}

/// Stores element `index` of an array of trivial elements without alignment.
@_alwaysEmitIntoClient @_transparent
public func store<T: BitwiseCopyable>(
    _ value: T, _ base: UnsafeMutableRawPointer, _ index: Int
) {
    // SAFETY: callers pass index < count of the operand.
    unsafe base.storeBytes(of: value, toByteOffset: index &* MemoryLayout<T>.size, as: T.self)
}
