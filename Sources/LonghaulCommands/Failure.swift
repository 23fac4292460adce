package import ArgumentParser
import ClusterFile
package import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Training
import ZeroMQ

/// An error as a person or a program reads it: what, where, and what to do next.
package struct Failure: Error, Encodable {
    package let code: ClusterModel.ExitCode
    package let message: String
    package let hint: String

    package init(_ code: ClusterModel.ExitCode, _ message: String, hint: String = "") {
        self.code = code
        self.message = message
        self.hint = hint
    }

    private enum CodingKeys: String, CodingKey { case code, name, message, hint, doc }

    /// `{code, name, message, hint, doc}`, as `--json` promises.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(code.rawValue, forKey: .code)
        try container.encode("\(code)", forKey: .name)
        try container.encode(message, forKey: .message)
        try container.encode(hint, forKey: .hint)
        try container.encode("docs/exit-codes.md#\(code.rawValue)", forKey: .doc)
    }

    /// Whose fault it is decides the code.
    package init(_ error: any Error) {
        switch error {
        case let error as Failure: self = error
        case let error as NodeError:
            self.init(error.code, error.message, hint: error.hint)
        case let error as ClusterFileError: self.init(.configuration, "\(error)")
        case let error as CorpusError: self.init(.data, "\(error)")
        case let error as SafetensorsError: self.init(.data, "\(error)")
        case let error as StateFileError: self.init(.data, "\(error)")
        case let error as RunLogError: self.init(.data, "\(error)")
        case let error as RunSummaryError: self.init(.data, "\(error)")
        case let error as ZeroMQError:
            let number = error.code == 0 ? "" : " (errno \(error.code))"
            self.init(
                Self.code(of: error),
                "\(error.operation) \(error.subject): \(error.reason)\(number)", hint: error.hint)
        case let error as CocoaError:
            self.init(
                .unavailable, "\(error.localizedDescription)",
                hint: error.filePath.map { "look at \($0)" } ?? "")
        default: self.init(.unavailable, "\(error)")
        }
    }

    private static func code(of error: ZeroMQError) -> ClusterModel.ExitCode {
        switch error.kind {
        case .badEndpoint, .badKey, .badOption: .configuration
        case .exposedKey: .notAllowed
        case .portInUse, .terminating, .unprotected, .selfTest, .timedOut, .system: .unavailable
        }
    }
}

/// Runs a command line the way every Longhaul binary does: data on standard output, messages on
/// standard error, stable exit codes.
package enum CommandLineRunner {
    package static func run<Command: ParsableCommand>(_ type: Command.Type) -> Never {
        do {
            var command = try Command.parseAsRoot()
            try command.run()
            exit(ClusterModel.ExitCode.ok.rawValue)
        } catch let error as EndOfRun {
            if let failure = error.failure { printObject(failure) }
            exit(error.code.rawValue)
        } catch {
            let status = Command.exitCode(for: error)
            if status == .success {
                print(Command.fullMessage(for: error))
                exit(ClusterModel.ExitCode.ok.rawValue)
            }
            if status == .validationFailure {
                let text = Command.fullMessage(for: error)
                let seeAlso = text.split(separator: "\n").last.map(String.init) ?? ""
                printObject(
                    Failure(
                        .usage, Command.message(for: error),
                        hint: seeAlso.trimmingCharacters(in: .whitespaces)))
                Console.error(text)
                exit(ClusterModel.ExitCode.usage.rawValue)
            }
            report(Failure(error))
        }
    }

    /// Looked for by hand: a command line that does not parse has no flags yet.
    private static func printObject(_ failure: Failure) {
        guard CommandLine.arguments.contains("--json") else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if let data = try? encoder.encode(failure) {
            print(String(decoding: data, as: UTF8.self))
        }
    }

    private static func report(_ failure: Failure) -> Never {
        printObject(failure)
        let program = CommandLine.arguments.first.map { URL(filePath: $0).lastPathComponent }
        Console.error("\(program ?? "longhaul"): \(failure.message)")
        if !failure.hint.isEmpty { Console.error("  hint: \(failure.hint)") }
        exit(failure.code.rawValue)
    }
}

/// A run that ended with a code other than 0 and has already said why.
struct EndOfRun: Error {
    let code: ClusterModel.ExitCode
    /// For `--json`, where nothing else stands on standard output.
    var failure: Failure?
}

/// Standard error, a line at a time.
enum Console {
    static func error(_ line: String) { write(line + "\n") }

    /// Where nobody reads it: SIGPIPE ends the process, or, if that is ignored, the text is lost.
    static func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }

    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// A value as one line (or, indented, several lines) of JSON on standard output.
    static func printJSON(_ value: some Encodable, pretty: Bool = false) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty
            ? [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            : [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
