import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime

/// `longhaul link trace`: a relay whose rate follows a measurement.
struct LinkTraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "A link whose rate follows a measured trace (SOCKS5).",
        discussion: """
            Prints the two ports as one line of JSON and runs until SIGTERM. The trace is text, in \
            one of two formats, and repeats for ever; '#' begins a comment:
              0.0 48.2       seconds and Mbit/s from then on; 0 lets nothing pass
              0.5 31
            or, like mahimahi, one column of milliseconds, each a chance to send 1,500 bytes.

            EXAMPLES
              longhaul link trace lte.trace --one-way 25
              longhaul link trace lte.trace --check
            """)

    @Argument(help: "The trace.")
    var file: String

    @Option(help: "Delay in one direction, in milliseconds.")
    var oneWay = 15.0

    @Option(help: "Bytes that may wait in each direction.")
    var queue = 256 * 1024

    @Flag(help: "Both directions follow the trace; without it only the one from the first port.")
    var both = false

    @Flag(help: "Print what the trace says; start nothing.")
    var check = false

    func validate() throws {
        if !(0...3_600_000).contains(oneWay) || !(1...(1 << 30)).contains(queue) {
            throw ValidationError("--one-way is 0 to 3,600,000 ms, --queue 1 byte to 1 GiB.")
        }
    }

    func run() throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw Failure(.data, "cannot read the trace '\(file)'")
        }
        let trace: RateTrace
        do { trace = try RateTrace(text: String(decoding: data, as: UTF8.self)) } catch {
            throw Failure(
                .data, "\(file): \(error)", hint: "formats: longhaul help link trace")
        }
        if check {
            print(
                "\(trace.steps.count) steps in \(Figures.duration(Double(trace.period) / 1e9)), "
                    + "mean \(Figures.bitRate(trace.meanBitsPerSecond)), highest "
                    + Figures.bitRate(Double(trace.steps.map(\.bitsPerSecond).max() ?? 0)))
            return
        }
        let delay = Int64(oneWay * 1e6)
        let link = LinkParameters(
            bitsPerSecond: trace.steps.map(\.bitsPerSecond).max() ?? 0, oneWayNanoseconds: delay,
            queueLimitBytes: queue)
        var configuration = RelayConfiguration(
            regionA: "a", regionB: "b", aToB: link, bToA: link, seed: 1)
        configuration.aToBSchedule = trace.schedule(oneWayNanoseconds: delay)
        if both { configuration.bToASchedule = configuration.aToBSchedule }
        let interrupt = try Interrupt()
        interrupt.install()
        try Relay.run(configuration, stop: interrupt.wakeUp)
    }
}
