import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import ZeroMQ

/// A run of `longhaul bench lanes`: this process sends, another one receives, over an emulated link.
struct LaneBench {
    enum Fault: String, CaseIterable { case none, reset, outage, stop, kill }

    struct Options {
        var chunks: Int
        var chunkBytes: Int
        var fault: Fault
        /// Of the link, seconds after its start; of a process, after the first chunk.
        var faultAfter: Double
        var rate: UInt64
        var oneWay: Interval
        var lossPerBillion: UInt64
        var lanes: UInt16?
        var emulation: Emulation
        var congestion: String?
        var isPlain: Bool
    }

    struct Result: Encodable {
        var chunks: Int
        var chunkBytes: Int
        var emulation: String
        var rateBitsPerSecond: UInt64
        var roundTripSeconds: Double
        var lossPerBillion: UInt64
        var curve: Bool
        var fault: String
        var lanes: Int
        var because: String
        /// Handed to the lanes = acknowledged + given back for good.
        var sent: Int
        var delivered: Int
        var refused: Int
        /// Acknowledged and in no journal; twice in a journal; damaged; refused and yet in the journal of a
        /// later life. All must be 0.
        var lost: Int
        var twice: Int
        var damaged: Int
        var revived: Int
        /// In the killed life's journal, without an acknowledgement: refused.
        var arrivedUnacknowledged: Int
        var framesResent: UInt64
        var laneResets: Int
        var laneDownSecondsMedian: Double?
        var laneDownSecondsMax: Double?
        var longestStallSeconds: Double
        /// From the end of the fault (outage, stop) or the kill to the next acknowledgement.
        var secondsToRecover: Double?
        var seconds: Double
        /// Content of delivered chunks over the whole time.
        var megabytesPerSecond: Double
        var senderCpuSeconds: Double

        var isWhole: Bool {
            sent == delivered + refused && lost + twice + damaged + revived == 0
        }
    }

    /// How long a stopped receiver stands still, and an outage lasts.
    static let stopSeconds = 10.0
    static let outageSeconds = 20.0

    let options: Options

    private static let here = RegionID(0)
    private static let there = RegionID(1)

    func run() throws -> Result {
        let folder = try ScratchFolder("longhaul-lanes")
        defer { folder.remove() }
        let topology = topology()
        let keys = try CurveKeyPair.generate()
        let setup = LaneBenchSetup(
            topology: topology, run: WallClock.runID().rawValue, chunkBytes: options.chunkBytes,
            isPlain: options.isPlain, senderKey: keys.publicKey)
        try JSONEncoder().encode(setup).write(to: URL(filePath: "\(folder.path)/setup.json"))
        let linkStart = MonotonicClock.now()
        var cluster = ClusterFile(
            topology: topology, configuration: Self.configuration, seedIsGiven: true)
        cluster.emulation = options.emulation
        let links = try LocalLinks(
            cluster, directory: folder.path, binaries: UpCommand.binaries(), started: { _ in })
        defer { links.terminate() }
        try setCongestion(links)
        var receivers = [try startReceiver(1, links, folder.path)]
        defer { for receiver in receivers { receiver.process.forceEnd() } }
        let flags = links.proxyFlags(Self.here)
        let proxies = flags.firstIndex(of: "--via").map { flags[$0 + 1] } ?? ""
        let parts = proxies.split(separator: "=").map(String.init)
        let sender = try links.inside(Self.here) {
            try LaneSender(
                setup, keys: keys, chunks: options.chunks, listen: listen(links, Self.here),
                proxies: parts.count == 2 ? [parts[0]: parts[1]] : [:])
        }
        defer { sender.close() }
        try sender.connect(receivers[0].address)
        var script = FaultScript(options.fault, after: options.faultAfter, linkStart: linkStart)
        let cpu = ProcessTime.cpuSeconds()
        try sender.run(until: linkStart + 1_800_000_000_000) { now in
            try BenchWatch.checkReaders()
            switch script.next(now, firstSentAt: sender.counts.firstSentAt) {
            case .stop: receivers[0].process.signal(stop: true)
            case .resume:
                receivers[0].process.signal(stop: false)
                sender.markRecovery()
            case .kill:
                receivers[0].process.forceEnd()
                receivers.append(try startReceiver(2, links, folder.path))
                try sender.connect(receivers[1].address)
                sender.markRecovery()
            case .recovered: sender.markRecovery()
            case nil: break
            }
        }
        let spent = ProcessTime.cpuSeconds() - cpu
        for receiver in receivers { receiver.process.terminate() }
        for receiver in receivers { _ = receiver.process.remainingOutput() }
        return try summary(
            sender, script, journals: receivers.map(\.journal), cpu: spent)
    }

    // MARK: Pieces

    private static let configuration = RunConfiguration(
        name: "bench-lanes", seed: 1, steps: 1, model: .standard, training: .standard,
        schedule: RunConfiguration.Schedule(
            inner: .none, outer: .diloco, syncEvery: 1, outerLearningRate: 1, outerMomentum: 0),
        wire: RunConfiguration.Wire(insideRegion: .fp32, betweenRegions: .fp32),
        deadlines: .standard, data: RunConfiguration.Data(path: "/dev/null"))

    private func topology() -> Topology {
        let product = Double(options.rate) / 8 * 2 * options.oneWay.seconds
        var link = Topology.Link(
            a: Self.here, b: Self.there, distanceKilometres: 0, oneWayDelay: options.oneWay,
            rate: options.rate, jitter: .zero, queueBytes: max(65_536, Int(product)))
        link.lanes = options.lanes
        if options.lossPerBillion > 0 { link.loss = .random(perBillion: options.lossPerBillion) }
        var change = LinkChange(at: Interval(seconds: options.faultAfter))
        switch options.fault {
        case .reset:
            change.reset = .one
            change.every = .seconds(1)
            link.changes = [change]
        case .outage:
            change.isOutage = true
            change.duration = Interval(seconds: Self.outageSeconds)
            link.changes = [change]
        case .none, .stop, .kill: break
        }
        return Topology(
            regions: ["here", "there"].map {
                Topology.Region(
                    name: $0,
                    workers: [
                        Topology.Worker(name: "\($0)-1", microBatch: 1, nominalStep: .zero)
                    ])
            }, links: [link], coordinatorRegion: Self.here)
    }

    private func setCongestion(_ links: LocalLinks) throws {
        guard let name = options.congestion else { return }
        for region in [Self.here, Self.there]
        where !links.setCongestionControl(name, of: region) {
            throw Failure(
                .configuration, "congestion control '\(name)' cannot be set",
                hint:
                    "it needs --mode packet, and must be in net.ipv4.tcp_allowed_congestion_control"
            )
        }
    }

    private func listen(_ links: LocalLinks, _ region: RegionID) -> String {
        links.listenFlags(region).last ?? "tcp://127.0.0.1:*"
    }

    private struct Receiver {
        var process: ChildProcess
        var address: LaneBenchSetup.Receiver
        var journal: String
    }

    private func startReceiver(
        _ life: Int, _ links: LocalLinks, _ folder: String
    ) throws -> Receiver {
        let journal = "\(folder)/journal-\(life)"
        let process = try links.start(
            name: "receiver", executable: "\(UpCommand.binaries())/longhaul", in: Self.there,
            arguments: [
                "bench", "lanes-receiver", "--setup", "\(folder)/setup.json", "--journal", journal,
                "--listen", listen(links, Self.there),
            ])
        guard let line = process.readLine(),
            let address = try? JSONDecoder().decode(
                LaneBenchSetup.Receiver.self, from: Data(line.utf8))
        else { throw process.failureAtStart("the receiver") }
        return Receiver(process: process, address: address, journal: journal)
    }
}
