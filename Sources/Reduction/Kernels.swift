import CProcessor
import Glibc
package import ReductionKernels

#if arch(x86_64)
    import ReductionAVX2
    import ReductionAVX512
#endif

/// The choice of instruction set, made once per process.
package enum Kernels {
    /// The environment variable that forces one of `available` by name.
    package static let environmentVariable = "LONGHAUL_ISA"

    /// The kernel sets this machine can run, slowest first.
    package static let available: [any KernelSet.Type] = {
        #if arch(x86_64)
            let level = longhaul_x86_level()
            var sets: [any KernelSet.Type] = [BaselineKernels.self]
            if level >= 3 { sets.append(AVX2Kernels.self) }
            if level >= 4 { sets.append(AVX512Kernels.self) }
            return sets
        #else
            return [BaselineKernels.self]
        #endif
    }()

    /// The set in use: the one named by `LONGHAUL_ISA`, otherwise the widest.
    ///
    /// Traps if the variable names none of `available`: running on with another set would hide
    /// that a forced comparison compares nothing.
    package static let current: any KernelSet.Type = {
        // SAFETY: getenv returns nil or a C string which lives until the environment changes;
        // it is copied at once.
        guard let value = unsafe getenv(environmentVariable) else {
            return available[available.count - 1]
        }
        let wanted = unsafe String(cString: value)
        guard let set = available.first(where: { $0.name == wanted }) else {
            let names = available.map { $0.name }.joined(separator: ", ")
            preconditionFailure(
                "\(environmentVariable)=\(wanted): this machine offers \(names); "
                    + "unset the variable or name one of these")
        }
        return set
    }()

    /// The name of the set in use, for reports.
    package static var currentName: String { current.name }
}
