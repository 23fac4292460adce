/// A block of memory of fixed size, 64-byte aligned, which an encoder or reducer owns and reuses.
@safe
final class Scratch {
    /// The whole block.
    let bytes: UnsafeMutableRawBufferPointer

    /// Allocates `byteCount` bytes, at least one.
    init(byteCount: Int) {
        // SAFETY: freed in deinit; nothing outside the owner keeps the pointer past a call.
        unsafe bytes = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(byteCount, 1), alignment: 64)
    }

    deinit {
        // SAFETY: allocated by init and by nobody else freed.
        unsafe bytes.deallocate()
    }
}
