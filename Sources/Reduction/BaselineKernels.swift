import ReductionKernels

/// The kernels compiled for the platform's baseline: SSE2 on x86-64, NEON on arm64.
package enum BaselineKernels: KernelSet {
    package static var name: String { "baseline" }
}
