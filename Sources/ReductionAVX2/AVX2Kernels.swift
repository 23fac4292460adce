import ReductionKernels

/// The kernels compiled for x86-64-v3 (AVX2).
package enum AVX2Kernels: KernelSet {
    package static var name: String { "x86-64-v3" }
}
