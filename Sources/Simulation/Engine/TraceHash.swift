/// A running hash over everything that happens, in order: two runs with equal hashes took the same
/// course. FNV-1a over 64-bit words with a final mix per word (Fowler, Noll, Vo).
package struct TraceHash: Equatable, Sendable {
    package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x0000_0100_0000_01b3
        value ^= value >> 29
    }
}
