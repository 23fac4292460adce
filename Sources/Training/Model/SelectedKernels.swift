package import TrainingKernels

#if arch(x86_64)
    import TrainingAVX2
    import TrainingAVX512
#endif

/// The widest element-wise passes this processor can run, chosen once.
package enum SelectedKernels {
    package static let current: any ElementwiseKernels.Type = available.last ?? KernelsBaseline.self

    /// From the narrowest to the widest.
    package static let available: [any ElementwiseKernels.Type] = {
        var sets: [any ElementwiseKernels.Type] = [KernelsBaseline.self]
        #if arch(x86_64)
            let flags = ProcessorFeatures.current().flags
            // The levels of the x86-64 psABI, as far as they exceed each other in practice.
            if flags.isSuperset(of: ["avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"]) {
                sets.append(KernelsAVX2.self)
                if flags.isSuperset(of: ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
                {
                    sets.append(KernelsAVX512.self)
                }
            }
        #endif
        return sets
    }()
}
