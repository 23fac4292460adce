import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// `longhaul bench lanes`: numbered chunks over the lanes of one pair of workers, with faults.
struct BenchLanesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lanes",
        abstract: "Numbered chunks over an emulated link: none lost, none twice, whatever breaks.",
        discussion: """
            Lane machines and sockets are the shipped ones, sender, receiver and link are processes of \
            their own. sent = delivered + refused; refused is what a killed receiver had not acknowledged. \
            Every chunk has a number and a checksum, and the receiver keeps a journal that is compared.

            EXAMPLES
              longhaul bench lanes --chunks 1000000 --chunk-bytes 4096 --fault reset --json
              longhaul bench lanes --chunks 1024 --chunk-bytes 262144 --lanes 4
              longhaul bench lanes --mode packet --loss 0.01 --lanes 8 --congestion bbr --json
            """)

    @Option(help: "How many chunks, 1 to 2^24.")
    var chunks = 4_096

    @Option(help: "Bytes of each: a multiple of 4, to 262144.")
    var chunkBytes = 65_536

    @Option(
        help: ArgumentHelp(
            "none, reset (one lane each second), outage (20 s), stop (the receiver, 10 s) or kill "
                + "(the receiver; a new life follows)."))
    var fault = "none"

    @Option(help: "Seconds until the fault begins: after the link's start, or the first chunk.")
    var after = 2.0

    @Option(help: "Mbit/s of the link.")
    var rate = 500

    @Option(help: "Round trip of the link in ms.")
    var rtt = 30.0

    @Option(help: "Per cent of packets lost; packet mode.")
    var loss = 0.0

    @Option(help: "Lanes, 1 to 16; left out, the machine decides.")
    var lanes: Int?

    @Option(help: "How the link is emulated: relay, or packet (root).")
    var mode = "relay"

    @Option(help: "Congestion control of both ends: cubic, bbr, reno; packet mode.")
    var congestion: String?

    @Flag(help: "Plain sockets: no CURVE.")
    var plain = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (1...(1 << 24)).contains(chunks), (4...262_144).contains(chunkBytes),
            chunkBytes.isMultiple(of: 4), (1...100_000).contains(rate), (0...2_000).contains(rtt),
            (0...50).contains(loss), lanes.map({ (1...16).contains($0) }) ?? true, after >= 0
        else {
            throw ValidationError(
                "--chunks 1 to 2^24, --chunk-bytes 4 to 262144 by 4, --rate 1 to 100000, --rtt 0 to "
                    + "2000, --loss 0 to 50, --lanes 1 to 16")
        }
        guard LaneBench.Fault(rawValue: fault) != nil, Emulation(rawValue: mode) != nil else {
            throw ValidationError(
                "--fault none, reset, outage, stop or kill; --mode relay or packet")
        }
        if mode == "relay", loss > 0 || congestion != nil {
            throw ValidationError("a relay ends TCP and loses no packets: --mode packet")
        }
        if mode == "packet", fault == "reset" {
            throw ValidationError("packets belong to no connection that could be reset")
        }
    }

    func run() throws {
        let bench = LaneBench(
            options: LaneBench.Options(
                chunks: chunks, chunkBytes: chunkBytes,
                fault: LaneBench.Fault(rawValue: fault) ?? .none, faultAfter: after,
                rate: UInt64(rate) * 1_000_000, oneWay: Interval(seconds: rtt / 2_000),
                lossPerBillion: UInt64((loss * 1e7).rounded()), lanes: lanes.map { UInt16($0) },
                emulation: Emulation(rawValue: mode) ?? .relay, congestion: congestion,
                isPlain: plain))
        let result = try bench.run()
        if json { try Console.printJSON(result) } else { print(Self.text(result)) }
        guard result.isWhole else {
            throw Failure(.violation, "chunks were lost, damaged or counted twice")
        }
    }

    private static func text(_ result: LaneBench.Result) -> String {
        var text =
            "\(result.sent) chunks sent = \(result.delivered) delivered + \(result.refused) refused; "
            + "\(result.lost) lost, \(result.twice) twice, \(result.damaged) damaged\n"
            + "\(result.lanes) lanes (\(result.because)), \(result.emulation) link, "
            + "\(Figures.fixed(result.megabytesPerSecond, 1)) MB/s, "
            + "\(result.framesResent) frames sent again, longest stall "
            + Figures.duration(result.longestStallSeconds)
        if let seconds = result.secondsToRecover {
            text += "\n\(result.fault): recovered after \(Figures.duration(seconds))"
        }
        if let down = result.laneDownSecondsMax {
            text += "\n\(result.laneResets) lanes lost, down for at most \(Figures.duration(down))"
        }
        return text
    }
}

/// The receiver; started by the command above.
struct BenchLanesReceiverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lanes-receiver", abstract: "The receiver of 'bench lanes'.",
        shouldDisplay: false)

    @Option var setup: String
    @Option var journal: String
    @Option var listen: String

    func run() throws {
        let interrupt = try Interrupt()
        interrupt.install()
        interrupt.watchParent()
        let data = try Data(contentsOf: URL(filePath: setup))
        let receiver = try LaneReceiver(
            try JSONDecoder().decode(LaneBenchSetup.self, from: data),
            keys: try CurveKeyPair.generate(), listen: listen, journal: journal,
            interrupt: interrupt)
        try receiver.run()
    }
}
