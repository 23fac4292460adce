import ClusterFile
import ClusterModel
import NodeRuntime

extension AllreduceBench {
    /// What is printed. Bytes are of whole frames before encryption, summed over all workers.
    struct Result: Encodable {
        var workers: Int
        var elements: Int
        var wire: String
        var curve: Bool
        /// How workers of a region reached each other: tcp, ipc, memory.
        var sameHost: String
        var repeats: Int
        var secondsMedian: Double
        var secondsMin: Double
        var secondsMax: Double
        /// Wall time from one exchange to the next, the slowest worker's mean.
        var secondsBackToBack: Double
        /// fp32 bytes of one worker's values over `secondsMedian`.
        var algorithmMegabytesPerSecond: Double
        var bytesOnWire: Double
        /// Of them between regions.
        var bytesBetweenRegions: Double
        var framesOnWire: Double
        /// Frame buffers taken from the system during the measured exchanges, all workers.
        var buffersAllocated: Int
        /// Pages the system gave to one worker in one exchange, libzmq's messages included.
        var pageFaults: Double
        /// Most frame buffers one worker had in use, in bytes.
        var bufferBytesPeak: Int
        /// All-reduces under way at once; figures are of one of them.
        var inFlight: Int
        /// "relay" or "packet"; nothing on loopback.
        var emulation: String?
        /// Of packet mode; nothing: the kernel's.
        var congestion: String?
        /// Frames per second and direction while the exchanges ran that count, as a share of what the link
        /// carries of TCP's payload: rate x 1448 / 1500. Of a cluster of two regions.
        var payloadRateShare: [String: Double]?
        /// How long that was.
        var secondsTogether: Double?
        /// Processor seconds of one exchange, mean over the workers.
        var cpuSeconds: Double
        var digest: String
        /// Largest deviation from the known mean, as a share of its largest value.
        var error: Double
    }

    /// - Parameter results: what each worker measured.
    func summary(_ results: [ExchangeResult]) throws -> Result {
        let digests = Set(results.map(\.digest))
        guard let digest = digests.first, digests.count == 1 else {
            throw Failure(.digestMismatch, "workers hold unlike means: \(digests.sorted())")
        }
        let formats = configuration.wire
        let isShared = topology.regions.count == 1 && method.inFlight == 1
        let wire = isShared ? formats.insideRegion : formats.betweenRegions
        let slowest = results.max { median($0.seconds) < median($1.seconds) }?.seconds ?? []
        let seconds = median(slowest)
        let window = results.map(\.progress).together
        return Result(
            workers: results.count, elements: elements,
            wire: "\(wire)",
            curve: !method.isPlain, sameHost: (topology.sameHost ?? .tcp).rawValue,
            repeats: method.repeats, secondsMedian: seconds,
            secondsMin: slowest.min() ?? 0, secondsMax: slowest.max() ?? 0,
            secondsBackToBack: results.map(\.secondsBackToBack).max() ?? 0,
            algorithmMegabytesPerSecond: Double(elements) * 4 / seconds / 1e6,
            bytesOnWire: results.reduce(0) { $0 + $1.bytesSent },
            bytesBetweenRegions: results.reduce(0) { $0 + $1.bytesAcross },
            framesOnWire: results.reduce(0) { $0 + $1.framesSent },
            buffersAllocated: results.reduce(0) { $0 + $1.buffersAllocated },
            pageFaults: results.map(\.pageFaults).max() ?? 0,
            bufferBytesPeak: (results.map(\.buffersPeak).max() ?? 0) * FramePool.bufferBytes,
            inFlight: method.inFlight, emulation: cluster.map { "\($0.emulation)" },
            congestion: method.congestion, payloadRateShare: payloadRateShare(results, window),
            secondsTogether: window.map { $0.upperBound - $0.lowerBound },
            cpuSeconds: results.reduce(0) { $0 + $1.cpuSeconds } / Double(results.count),
            digest: digest, error: results.map(\.error).max() ?? 0)
    }

    private func payloadRateShare(
        _ results: [ExchangeResult], _ window: ClosedRange<Double>?
    ) -> [String: Double]? {
        guard topology.regions.count == 2, let link = topology.links.first, let window else {
            return nil
        }
        var shares: [String: Double] = [:]
        for (from, to) in [(link.a, link.b), (link.b, link.a)] {
            let rate = Double(link.parameters(from: from).bitsPerSecond) / 8 * 1448 / 1500
            guard rate > 0 else { return nil }
            let bytes = zip(topology.seats, results).reduce(0.0) {
                $0 + ($1.0.region == from ? $1.1.progress.bytesAcross(within: window) : 0)
            }
            let names = topology.regions.map(\.name)
            shares["\(names[from.index]) -> \(names[to.index])"] =
                bytes / (window.upperBound - window.lowerBound) / rate
        }
        return shares
    }

    private func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }
}
