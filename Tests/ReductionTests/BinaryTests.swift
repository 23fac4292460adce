import Foundation
import Reduction
import Testing

@Suite("compiled kernels")
struct BinaryTests {
    /// The object files of the three modules which carry kernel bodies.
    private static let objects: [[URL]] = {
        let build = Bundle.main.executableURL?.deletingLastPathComponent()
        return ["Reduction", "ReductionAVX2", "ReductionAVX512"].map { module in
            let folder = build?.appendingPathComponent("\(module).build")
            let files = try? FileManager.default.contentsOfDirectory(
                at: folder ?? URL(fileURLWithPath: "/"), includingPropertiesForKeys: nil)
            return (files ?? []).filter { $0.pathExtension == "o" }
        }
    }()

    @Test("no weak function is shared by two instruction sets")
    func weakSymbols() throws {
        #if arch(x86_64)
            let names = try Self.objects.map { files in
                try files.reduce(into: Set<String>()) { names, file in
                    names.formUnion(try weakFunctions(file))
                }
            }
            try #require(names[2].contains { $0.contains("reduceBlocks") })
            for (left, right) in [(0, 1), (0, 2), (1, 2)] {
                let shared = names[left].intersection(names[right]).filter {
                    !$0.hasPrefix("__swift")
                }
                #expect(shared.isEmpty, "the linker keeps one of \(shared)")
            }
        #endif
    }

    /// Names of the weak functions (type W of nm) which an object file defines. The compiler's own
    /// `__swift_...` helpers hold no vector code.
    private func weakFunctions(_ file: URL) throws -> [String] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nm")
        process.arguments = [file.path]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            return fields.count == 3 && fields[1] == "W" ? String(fields[2]) : nil
        }
    }
}

@Suite("kernel pool")
struct KernelPoolTests {
    @Test("every index runs once, on any number of threads", arguments: [1, 2, 3, 8])
    func once(threads: Int) {
        let pool = KernelPool(threads: threads)
        for count in [0, 1, 2, 7, 1_000] {
            let seen = Counters(count: count)
            pool.run(count) { seen.add($0) }
            #expect(seen.values == [Int](repeating: 1, count: count))
        }
    }

    private final class Counters: @unchecked Sendable {
        // SAFETY of @unchecked Sendable: every access holds the lock.
        private let lock = NSLock()
        private var counts: [Int]

        init(count: Int) { counts = Array(repeating: 0, count: count) }

        func add(_ index: Int) { lock.withLock { counts[index] += 1 } }

        var values: [Int] { lock.withLock { counts } }
    }
}
