import ClusterModel
import WireProtocol

/// Who draws which samples of a step, and how fast everybody has been: what micro-batches are planned
/// from. The samples of a step belong to regions for the whole run, in proportion to the cluster file's
/// batches; inside a region plans divide them among whoever is there.
///
/// ```
/// one step:  | region 0: 10 samples   | region 1: 6    |      samplesPerStep = 16
///            | sh-1: 6    | sh-2: 4   | ji-1: 4 | ji-2 |      offsets 0, 6, 10, 14
/// ```
struct Balance: Equatable, Sendable {
    struct Share: Equatable, Sendable {
        var batch: UInt32
        var offset: UInt32
    }

    private struct Pace: Equatable, Sendable {
        var samples: UInt64 = 0
        var time = Interval.zero
        /// Samples per second; nil before enough is known.
        var rate: Double?
    }

    /// Seats of each region, in order.
    private let regions: [Range<Int>]
    /// The cluster file's.
    private let fixed: [Share]
    let samplesPerStep: UInt32
    /// Of the last plan that began, by seat.
    private(set) var inForce: [Share]
    private var paces: [Pace]

    init(_ topology: Topology) {
        var regions: [Range<Int>] = []
        var fixed: [Share] = []
        var offset = 0
        for region in topology.regions {
            regions.append(fixed.count..<fixed.count + region.workers.count)
            for worker in region.workers {
                fixed.append(Share(batch: UInt32(worker.microBatch), offset: UInt32(offset)))
                offset += worker.microBatch
            }
        }
        self.regions = regions
        self.fixed = fixed
        samplesPerStep = UInt32(offset)
        inForce = fixed
        paces = Array(repeating: Pace(), count: fixed.count)
    }

    /// A plan begins. Seats outside it keep what they had, should they come back at once.
    mutating func adopt(_ plan: Plan) {
        for member in plan.members {
            inForce[Int(member.workerID.rawValue)] = Share(
                batch: member.microBatch, offset: member.sampleOffset)
        }
    }

    /// What a worker's report says of its last round.
    mutating func note(_ seat: WorkerID, samples: UInt64, time: Interval) {
        let index = Int(seat.rawValue)
        // A report of more than an hour or of 2^40 samples would be wrong anyway.
        guard samples <= 1 << 40, time <= .seconds(3_600) else { return }
        paces[index].samples += samples
        paces[index].time = paces[index].time + max(.zero, time)
        let enough =
            UInt64(inForce[index].batch) * UInt64(CoordinationLimits.balanceSteps)
        guard paces[index].samples >= enough, paces[index].time > .zero else { return }
        paces[index].rate = Double(paces[index].samples) / paces[index].time.seconds
        paces[index].samples = 0
        paces[index].time = .zero
    }

    /// Who is gone may come back on another machine.
    mutating func forget(_ seat: WorkerID) { paces[Int(seat.rawValue)] = Pace() }

    func rate(_ seat: WorkerID) -> Double? { paces[Int(seat.rawValue)].rate }

    // MARK: Shares of a plan that begins at a boundary

    /// By seat. Without `adapts` the cluster file's: what an absent worker would have drawn stays
    /// undrawn. With it, those present draw all of their region's, in proportion to their rates.
    func shares(of present: [WorkerID], adapts: Bool) -> [Share] {
        guard adapts else { return fixed }
        var shares = fixed
        var isPresent = [Bool](repeating: false, count: fixed.count)
        for seat in present { isPresent[Int(seat.rawValue)] = true }
        for region in regions {
            let seats = region.filter { isPresent[$0] }
            guard !seats.isEmpty else { continue }
            let parts = MicroBatches.split(total(region), rates: rates(of: seats))
            var offset = fixed[region.lowerBound].offset
            for (seat, part) in zip(seats, parts) {
                shares[seat] = Share(batch: UInt32(part), offset: offset)
                offset += UInt32(part)
            }
        }
        return shares
    }

    private func total(_ region: Range<Int>) -> Int {
        region.reduce(0) { $0 + Int(fixed[$1].batch) }
    }

    /// Measured ones; of a newcomer as the cluster file's batches have it beside the others.
    private func rates(of seats: [Int]) -> [Double] {
        let known = seats.compactMap { seat in
            paces[seat].rate.map { $0 / Double(fixed[seat].batch) }
        }
        let typical = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
        return seats.map { paces[$0].rate ?? typical * Double(fixed[$0].batch) }
    }

    /// What a new plan would bring, as a reason for people; nil when it would bring too little, or when a
    /// rate is not known yet.
    func improvement(of present: [WorkerID], topology: Topology) -> String? {
        let planned = shares(of: present, adapts: true)
        var reasons: [String] = []
        for (index, region) in regions.enumerated() {
            let seats = present.map { Int($0.rawValue) }.filter { region.contains($0) }
            let rates = seats.compactMap { paces[$0].rate }
            guard !seats.isEmpty, rates.count == seats.count else { continue }
            let now = seats.map { Int(inForce[$0].batch) }
            let next = seats.map { Int(planned[$0].batch) }
            let isWhole = now.reduce(0, +) == total(region)
            let before = MicroBatches.seconds(now, rates: rates)
            let after = MicroBatches.seconds(next, rates: rates)
            guard next != now,
                !isWhole || after * (1 + CoordinationLimits.balanceGain) < before
            else { continue }
            let pace = rates.map { Figures.significant($0) }.joined(separator: ", ")
            reasons.append(
                "\(topology.regions[index].name): \(Self.sum(now)) -> \(Self.sum(next)) sequences, "
                    + "measured \(pace) per second, a step "
                    + "\(Figures.duration(before)) -> \(Figures.duration(after))")
        }
        return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
    }

    private static func sum(_ parts: [Int]) -> String {
        parts.map(String.init).joined(separator: " + ")
    }
}
