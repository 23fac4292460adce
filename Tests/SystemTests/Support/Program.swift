import ClusterModel
import Foundation
import Glibc
import Testing

/// A binary of this package, or another program, running with its output in files.
final class Program {
    enum Ending: Equatable {
        case code(Int32)
        case signal(Int32)
    }

    struct Stuck: Error, CustomStringConvertible {
        let description: String
    }

    private let process = Process()
    private let input = Pipe()
    private let outputPath: String
    private let errorPath: String

    /// Starts `name` of the build directory, or `name` itself if it is an absolute path.
    init(
        _ name: String, _ arguments: [String], in scratch: Scratch,
        environment: [String: String] = [:]
    ) throws {
        let number = scratch.nextNumber()
        outputPath = scratch.path("out-\(number).txt")
        errorPath = scratch.path("err-\(number).txt")
        for path in [outputPath, errorPath] {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        let executable = name.hasPrefix("/") ? name : Binaries.path(name)
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: scratch.directory)
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = input
        process.standardOutput = try FileHandle(forWritingTo: URL(filePath: outputPath))
        process.standardError = try FileHandle(forWritingTo: URL(filePath: errorPath))
        try Self.withSignals { try process.run() }
        scratch.keep(self)
    }

    /// A child begins with its parent's mask, and libdispatch's threads, on which tests run, block signals
    /// that a shell's children get.
    private static func withSignals(_ body: () throws -> Void) rethrows {
        var (wanted, before) = (sigset_t(), sigset_t())
        // SAFETY: the system reads and fills this function's own sets.
        unsafe sigemptyset(&wanted)
        for number in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&wanted, number) }
        unsafe pthread_sigmask(SIG_UNBLOCK, &wanted, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    var pid: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOfFile: errorPath, encoding: .utf8)) ?? "" }

    func signal(_ number: Int32) { kill(pid, number) }

    /// Ends its standard input.
    func closeInput() { try? input.fileHandleForWriting.close() }

    /// How it ended. A program that does not end is a failure, with what it said last.
    func ending(within seconds: Double = 60) async throws -> Ending {
        try await waitUntil("\(process.executableURL?.lastPathComponent ?? "") ends", seconds) {
            !self.process.isRunning
        }
        return process.terminationReason == .exit
            ? .code(process.terminationStatus) : .signal(process.terminationStatus)
    }

    /// Waits for something to become true, much longer than it should take.
    func waitUntil(
        _ what: String, _ seconds: Double = 60, _ condition: () throws -> Bool
    ) async throws {
        for _ in 0..<Int(seconds * 50) {
            if try condition() { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Stuck(
            description: "not within \(seconds) s: \(what)\n" + errors.suffix(3_000)
                + output.suffix(500))
    }

    /// The `--json` error object on its standard output.
    func failure() throws -> ErrorObject {
        try JSONDecoder().decode(ErrorObject.self, from: Data(output.utf8))
    }
}

/// Runs `longhaul` and checks the exit code, the error object and the text for people.
func check(
    _ scratch: Scratch, _ arguments: [String], _ code: Int32, _ says: String,
    hint: String? = nil, binary: String = "longhaul"
) async throws {
    let program = try Program(binary, arguments + ["--json"], in: scratch)
    try await #expect(program.ending() == .code(code), "\(arguments): \(program.errors)")
    let failure = try program.failure()
    #expect(failure.code == code)
    #expect(failure.name == "\(try #require(ExitCode(rawValue: code)))")
    #expect(failure.doc == "docs/exit-codes.md#\(code)")
    #expect(failure.message.contains(says), "\(failure.message)")
    if let hint { #expect(failure.hint.contains(hint), "\(failure.hint)") }
    #expect(program.errors.contains(says), "\(program.errors)")
}

/// Processes whose command line has `text` in it.
func processes(with text: String) -> [Int32] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { Int32($0) }.filter { pid in
        FileManager.default.contents(atPath: "/proc/\(pid)/cmdline").map {
            String(decoding: $0, as: UTF8.self).contains(text)
        } == true
    }
}

/// What `--json` promises of an error.
struct ErrorObject: Decodable {
    var code: Int32
    var name: String
    var message: String
    var hint: String
    var doc: String
}

enum Binaries {
    /// The test bundle lies beside the binaries.
    static let directory: String = {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: own).deletingLastPathComponent().path
    }()

    static func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// The package's own folder, for scripts.
    static let package = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
}
