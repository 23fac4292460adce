import ReductionKernels

/// The kernels compiled for x86-64-v4 (AVX-512 F, BW, CD, DQ, VL).
package enum AVX512Kernels: KernelSet {
    package static var name: String { "x86-64-v4" }
}
