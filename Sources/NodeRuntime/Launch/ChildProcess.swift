import ClusterModel
package import Foundation
import Glibc

/// A process this one has started. It ends with its parent: its standard input is a pipe that closes.
package final class ChildProcess {
    package let name: String
    private let process = Process()
    private let input = Pipe()
    private let output: Pipe?

    /// - Parameters:
    ///   - executable: absolute path.
    ///   - log: takes what it prints, errors too; nil: its standard output can be read by line here.
    package init(
        name: String, executable: String, arguments: [String], log: FileHandle? = nil
    ) throws {
        self.name = name
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        process.standardInput = input
        if let log {
            output = nil
            process.standardOutput = log
            process.standardError = log
        } else {
            let pipe = Pipe()
            output = pipe
            process.standardOutput = pipe
        }
        do {
            try process.run()
        } catch {
            throw NodeError(
                .unavailable, "cannot start \(executable): \(error.localizedDescription)",
                hint: "build it first: make build")
        }
    }

    package var pid: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }

    /// The first line of its standard output, or nil if it ended without one.
    package func readLine() -> String? {
        var bytes: [UInt8] = []
        while let data = try? output?.fileHandleForReading.read(upToCount: 1), !data.isEmpty {
            if data[data.startIndex] == 0x0A { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(data[data.startIndex])
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    /// What an ended process has left on its standard output after the lines that were read.
    package func remainingOutput() -> Data {
        (try? output?.fileHandleForReading.readToEnd()) ?? Data()
    }

    package func interrupt() { kill(pid, SIGINT) }
    /// To be closed by one thread: a child that leaves with its parent takes the end of its standard input
    /// for the first signal, also one that has only begun and would not hear a signal yet.
    package var standardInput: FileHandle { input.fileHandleForWriting }
    package func terminate() { kill(pid, SIGTERM) }
    package func forceEnd() { kill(pid, SIGKILL) }
    /// SIGSTOP, or SIGCONT after it.
    package func signal(stop: Bool) { kill(pid, stop ? SIGSTOP : SIGCONT) }

    /// How it ended: an exit code, or the signal that killed it.
    package enum Ending: Equatable, Sendable {
        case code(Int32)
        case signal(Int32)
    }

    /// Nil while it runs.
    package var ending: Ending? {
        guard !process.isRunning else { return nil }
        return process.terminationReason == .exit
            ? .code(process.terminationStatus) : .signal(process.terminationStatus)
    }
}
