import ArgumentParser
import ClusterModel
import Compression
import Foundation
import Reduction
import ReductionKernels

/// `longhaul bench reduce`: one reduction kernel.
struct BenchReduceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reduce",
        abstract: "Reduction kernels: sum, fused pass, receiver's pass, quantisers.",
        discussion: """
            EXAMPLES
              longhaul bench reduce --op sum --dtype fp32 --sources 2 --elements 4194304 --json
              LONGHAUL_ISA=baseline longhaul bench reduce --op fused --dtype int8 --sources 8
            """)

    @Option(help: "sum, fused, apply, quantise or dequantise.")
    var op = "sum"

    @Option(help: "fp32, bf16, fp16, int8, int4 or e3m0.")
    var dtype = "fp32"

    @Option(help: "Sources, 1 to 64.")
    var sources = 2

    @Option(help: "Values per source.")
    var elements = 4_194_304

    @Option(help: "Threads.")
    var threads = 1

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        guard let operation = ReduceOperation(rawValue: op) else {
            let known = ReduceOperation.allCases.map(\.rawValue).joined(separator: ", ")
            throw Failure(.usage, "unknown operation '\(op)'", hint: known)
        }
        guard let kind = ElementKind.allCases.first(where: { "\($0)" == dtype }) else {
            let known = ElementKind.allCases.map { "\($0)" }.joined(separator: ", ")
            throw Failure(.usage, "unknown type '\(dtype)'", hint: known)
        }
        guard (1...(1 << 28)).contains(elements), (1...64).contains(sources),
            (1...64).contains(threads)
        else {
            throw Failure(
                .usage, "a value is out of range",
                hint: "elements 1 to 2^28, sources and threads 1 to 64")
        }
        let result = benchReduce(
            operation, dtype: kind, sources: sources, elements: elements, threads: threads)
        guard json else {
            print(
                "\(op) \(dtype) x \(sources), \(elements) values, \(threads) thread(s), "
                    + "\(result.isa): \(result.gigabytesPerSecond) GB/s (\(result.traffic))")
            return
        }
        try Console.printJSON(result)
    }
}

/// `longhaul bench codec`: chunk codecs on a file of floats.
struct BenchCodecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec", abstract: "Chunk codecs on a file of little-endian fp32 values.",
        discussion: """
            EXAMPLES
              longhaul bench codec --input gradient.f32 --codec int4-zstd --json
              longhaul bench codec --input gradient.f32 --list --json
            """)

    @Option(help: "File of little-endian fp32 values.")
    var input: String

    @Option(help: "One codec, by name.")
    var codec: String?

    @Flag(help: "Measure every codec.")
    var list = false

    @Flag(help: "Print one JSON object per line.")
    var json = false

    func run() throws {
        let values = try load()
        for codec in try chosen() {
            let result = try benchCodec(codec, values: values)
            if json {
                try Console.printJSON(result)
            } else {
                print(
                    "\(result.codec): \(result.bitsPerValue) bits per value, encode "
                        + "\(result.encodeGigabytesPerSecond) GB/s, decode "
                        + "\(result.decodeGigabytesPerSecond) GB/s, relative squared error "
                        + "\(result.relativeSquaredError)")
            }
        }
    }

    private func chosen() throws -> [Codec] {
        if list { return Codec.all }
        guard let name = codec else {
            throw Failure(.usage, "give --codec NAME or --list")
        }
        guard let codec = Codec(name: name) else {
            throw Failure(
                .usage, "unknown codec '\(name)'",
                hint: Codec.all.map(\.name).joined(separator: ", "))
        }
        return [codec]
    }

    private func load() throws -> [Float] {
        guard let data = FileManager.default.contents(atPath: input) else {
            throw Failure(.data, "cannot read '\(input)'", hint: "a file of fp32 values")
        }
        guard !data.isEmpty, data.count % 4 == 0 else {
            throw Failure(
                .data, "'\(input)' has \(data.count) bytes",
                hint: "expected a multiple of 4: little-endian fp32 values")
        }
        var values: [Float] = []
        values.reserveCapacity(data.count / 4)
        var bits: UInt32 = 0
        for (index, byte) in data.enumerated() {
            bits |= UInt32(byte) << UInt32(8 * (index % 4))
            if index % 4 == 3 {
                values.append(Float(bitPattern: bits))
                bits = 0
            }
        }
        return values
    }
}
