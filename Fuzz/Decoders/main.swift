// Fuzz targets of everything that decodes bytes from a peer. `Fuzz/run` (`make fuzz`) builds this with
// AddressSanitizer and coverage and runs each target by itself:
//
//     LONGHAUL_FUZZ_TARGET=int4-zstd fuzz-decoders corpus -max_total_time=10
//
// A target that finds a broken promise traps, which libFuzzer reports like any crash.

import CFuzzer
import Glibc

// SAFETY: getenv's result is copied at once; libFuzzer's driver takes the arguments main has got.
guard let wanted = unsafe getenv("LONGHAUL_FUZZ_TARGET").map({ unsafe String(cString: $0) }) else {
    for name in ChunkTarget.names + FrameTarget.names { print(name) }
    exit(0)
}
let target = ChunkTarget(name: wanted)
if let target {
    unsafe Chosen.run = { unsafe target.run($0) }
} else if let frames = FrameTarget(name: wanted) {
    unsafe Chosen.run = { unsafe frames.run($0) }
} else {
    print("unknown target '\(wanted)'")
    exit(64)
}
var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
exit(
    unsafe LLVMFuzzerRunDriver(&count, &arguments) { data, size in
        unsafe Chosen.run(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    })

/// The target of this process; libFuzzer's callback has no context of its own.
enum Chosen {
    // SAFETY: set once before the driver starts, which calls on this thread only.
    nonisolated(unsafe) static var run: (UnsafeRawBufferPointer) -> Void = { _ in }
}
