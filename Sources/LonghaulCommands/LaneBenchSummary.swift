import ClusterModel
import Foundation
import NodeRuntime

/// When a fault begins and ends.
struct FaultScript {
    enum Act { case stop, resume, kill, recovered }

    private let fault: LaneBench.Fault
    private let after: Int64
    private let linkStart: Int64
    private(set) var begunAt: Int64?
    /// What recovery is counted from.
    private(set) var endedAt: Int64?

    init(_ fault: LaneBench.Fault, after: Double, linkStart: Int64) {
        self.fault = fault
        self.after = Int64(after * 1e9)
        self.linkStart = linkStart
    }

    /// What is due now.
    mutating func next(_ now: Int64, firstSentAt: Int64) -> Act? {
        switch fault {
        case .none: return nil
        case .reset:
            if begunAt == nil, now >= linkStart + after { begunAt = now }
            return nil
        case .outage:
            let start = linkStart + after
            if begunAt == nil, now >= start { begunAt = start }
            let end = start + Int64(LaneBench.outageSeconds * 1e9)
            guard endedAt == nil, now >= end else { return nil }
            endedAt = end
            return .recovered
        case .kill, .stop:
            guard firstSentAt > 0 else { return nil }
            if begunAt == nil, now >= firstSentAt + after {
                begunAt = now
                if fault == .kill { endedAt = now }
                return fault == .kill ? .kill : .stop
            }
            guard fault == .stop, let begunAt, endedAt == nil,
                now >= begunAt + Int64(LaneBench.stopSeconds * 1e9)
            else { return nil }
            endedAt = now
            return .resume
        }
    }
}

extension LaneBench {
    /// Compares what the sender knows with the receivers' journals.
    func summary(
        _ sender: LaneSender, _ script: FaultScript, journals: [String], cpu: Double
    ) throws -> Result {
        let counts = sender.counts
        guard options.fault == .none || script.begunAt != nil else {
            throw Failure(
                .usage, "all chunks were delivered before the fault began",
                hint: "send more of them, or begin earlier with --after")
        }
        var refused = [Bool](repeating: false, count: options.chunks)
        for number in sender.refused { refused[Int(number)] = true }
        var seen = [UInt8](repeating: 0, count: options.chunks)
        var (twice, damaged, revived, unacknowledged) = (0, 0, 0, 0)
        for (life, path) in journals.enumerated() {
            var here = [Bool](repeating: false, count: options.chunks)
            for record in try Self.records(path) {
                if record & LaneReceiver.damaged != 0 { damaged += 1 }
                let number = Int(record & ~LaneReceiver.damaged)
                guard number < options.chunks, !here[number] else {
                    twice += 1
                    continue
                }
                here[number] = true
                if refused[number] {
                    if life == 0 { unacknowledged += 1 } else { revived += 1 }
                } else {
                    if seen[number] > 0 { twice += 1 }
                    seen[number] = 1
                }
            }
        }
        let lost = seen.indices.count { seen[$0] == 0 && !refused[$0] }
        let downs = counts.downs.sorted()
        let seconds = Double(counts.lastAcknowledgedAt - counts.firstSentAt) / 1e9
        return Result(
            chunks: options.chunks, chunkBytes: options.chunkBytes,
            emulation: "\(options.emulation)", rateBitsPerSecond: options.rate,
            roundTripSeconds: 2 * options.oneWay.seconds, lossPerBillion: options.lossPerBillion,
            curve: !options.isPlain, fault: options.fault.rawValue, lanes: Int(counts.lanes),
            because: counts.because, sent: counts.sent, delivered: counts.delivered,
            refused: counts.refused, lost: lost, twice: twice, damaged: damaged,
            revived: revived, arrivedUnacknowledged: unacknowledged,
            framesResent: counts.framesResent, laneResets: counts.resets,
            laneDownSecondsMedian: downs.isEmpty ? nil : Double(downs[downs.count / 2]) / 1e9,
            laneDownSecondsMax: downs.last.map { Double($0) / 1e9 },
            longestStallSeconds: Double(counts.longestStall) / 1e9,
            secondsToRecover: script.endedAt.flatMap { end in
                counts.recoveredAt.map { Double($0 - end) / 1e9 }
            }, seconds: seconds,
            megabytesPerSecond: Double(counts.delivered * options.chunkBytes) / seconds / 1e6,
            senderCpuSeconds: cpu)
    }

    /// Eight bytes a record, little-endian; half a record at the end of a killed process is none.
    private static func records(_ path: String) throws -> [UInt64] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Failure(.data, "the receiver's journal '\(path)' cannot be read")
        }
        let bytes = [UInt8](data)
        return stride(from: 0, to: bytes.count - 7, by: 8).map { start in
            (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
        }
    }
}
