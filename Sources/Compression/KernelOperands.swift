internal import ClusterModel
internal import ReductionKernels

extension TransformID {
    /// The kernels' layout of a dense transform; nil for `topK`.
    var kind: ElementKind? {
        switch self {
        case .fp32: .fp32
        case .bf16: .bf16
        case .fp16: .fp16
        case .int8: .int8
        case .int4: .int4
        case .e3m0: .e3m0
        case .topK: nil
        }
    }
}

/// A body seen as a source: scales first, then the values.
func kernelSource(
    _ body: UnsafeRawPointer, _ kind: ElementKind, elements: Int, factor: Float
) -> KernelSource {
    // SAFETY: the body holds scaleBytes + valueBytes bytes, as the caller has checked.
    unsafe KernelSource(
        values: body + kind.scaleBytes(elements), scales: body, factor: factor, kind: kind)
}

/// A body seen as a target.
func kernelTarget(
    _ body: UnsafeMutableRawPointer, _ kind: ElementKind, elements: Int
) -> KernelTarget {
    // SAFETY: as in `kernelSource`.
    unsafe KernelTarget(
        values: body + kind.scaleBytes(elements), scales: body, kind: kind)
}
