import ClusterModel
import Foundation
import Training

/// A fresh directory that the body may fill; removed afterwards.
func withTemporaryDirectory<R>(_ body: (String) throws -> R) throws -> R {
    let url = FileManager.default.temporaryDirectory
        .appendingPathComponent("longhaul-training-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: url) }
    return try body(url.path)
}

func copy(_ span: Span<Float>) -> [Float] {
    (0..<span.count).map { span[$0] }
}

extension Transformer {
    /// Initial parameters with every tensor moved off its special value (zero biases, unit norms).
    func initialisePerturbed(seed: UInt64, deviation: Float) {
        initialise(seed: seed)
        var generator = SeededGenerator(seed: seed &+ 1)
        withMutableParameters(0..<shape.parameterCount) { span in
            for index in 0..<span.count {
                span[index] += generator.normal() * deviation
            }
        }
    }

    func gradient(_ range: Range<Int>) -> [Float] {
        withGradients(range) { copy($0) }
    }
}

func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next() >> 20) }
}

func norm(_ values: [Float]) -> Double {
    values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
}

/// |a - b| / |b|
func relativeDistance(_ a: [Float], _ b: [Float]) -> Double {
    norm(zip(a, b).map { $0 - $1 }) / max(norm(b), 1e-30)
}

struct ProgramOutcome {
    var status: Int32
    var output: String
}

/// Runs a program to its end and collects what it prints.
func runProgram(_ path: String, _ arguments: [String]) throws -> ProgramOutcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return ProgramOutcome(
        status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
}
