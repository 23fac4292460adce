// Fuzz targets of everything that decodes bytes from a peer. `Fuzz/run` (`make fuzz`) builds this with
// AddressSanitizer and coverage and runs each target by itself:
//
//     LONGHAUL_FUZZ_TARGET=int4-zstd fuzz-decoders corpus -max_total_time=10
//
// A target that finds a broken promise traps, which libFuzzer reports like any crash.

import CFuzzer
import Glibc

guard let run = unsafe chosen() else {
    for name in ChunkTarget.names + FrameTarget.names + TokenTarget.names { print(name) }
    exit(0)
}
unsafe Chosen.run = unsafe run
var count = CommandLine.argc
// SAFETY: the driver takes the arguments which main has got, and calls back with `size` bytes.
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = unsafe CommandLine.unsafeArgv
exit(
    unsafe LLVMFuzzerRunDriver(&count, &arguments) { data, size in
        unsafe Chosen.run(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    })

/// The target which the environment names, or nil if it names none.
func chosen() -> ((UnsafeRawBufferPointer) -> Void)? {
    // SAFETY: getenv's result is copied at once.
    guard let wanted = unsafe getenv("LONGHAUL_FUZZ_TARGET").map({ unsafe String(cString: $0) })
    else { return nil }
    if let target = ChunkTarget(name: wanted) { return { unsafe target.run($0) } }
    if let target = FrameTarget(name: wanted) { return { unsafe target.run($0) } }
    if let target = TokenTarget(name: wanted) { return { unsafe target.run($0) } }
    print("unknown target '\(wanted)'")
    exit(64)
}

/// The target of this process; libFuzzer's callback has no context of its own.
enum Chosen {
    // SAFETY: set once before the driver starts, which calls on this thread only.
    nonisolated(unsafe) static var run: (UnsafeRawBufferPointer) -> Void = { _ in }
}
