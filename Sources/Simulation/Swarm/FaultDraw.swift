import ClusterModel

/// Draws the faults of a seed: a few of a few kinds, in one stretch of time.
struct FaultDraw {
    let regions: Int
    let seats: Int
    /// Milliseconds of virtual time within which faults begin.
    let until: Int

    func draw(_ dice: inout Dice) -> [TimedFault] {
        let kinds = (0..<(1 + dice.below(3))).map { _ in dice.below(Self.kindCount) }
        let count = dice.pick([1, 1, 2, 3, 5, 8])
        let window = dice.pick([until, until / 4, 2_000])
        let start = dice.below(max(1, until - window + 1))
        var faults: [TimedFault] = []
        for _ in 0..<count {
            let at = Instant.zero + dice.time(start...(start + window))
            let kind = dice.pick(kinds)
            faults.append(TimedFault(at: at, fault: one(kind, &dice)))
            // Somebody comes back and needs a state, and one who may be sending it dies.
            guard kind == Self.sourceDeath else { continue }
            if case .restart(let seat, _) = faults[faults.count - 1].fault {
                let source = seats > 1 ? (seat + 1 + dice.below(seats - 1)) % seats : seat
                faults.append(
                    TimedFault(at: at + dice.time(20...6_000), fault: .crash(worker: source)))
            }
        }
        return faults.sorted { $0.at < $1.at }
    }

    static let kindCount = 17
    private static let sourceDeath = 16

    private func one(_ kind: Int, _ dice: inout Dice) -> Fault {
        let seat = dice.below(seats)
        let other = seats > 1 ? (seat + 1 + dice.below(seats - 1)) % seats : seat
        let from = dice.below(regions)
        let to = regions > 1 ? (from + 1 + dice.below(regions - 1)) % regions : from
        switch kind {
        case 0: return .crash(worker: seat)
        case 1: return .restart(worker: seat, resume: dice.once(in: 2))
        case 2: return .pause(worker: seat, length(&dice))
        case 3: return .pause(worker: nil, length(&dice))
        case 4:
            return .partition(from: from, to: to, symmetric: dice.once(in: 2), length(&dice))
        case 5:
            let way = dice.below(3)
            return .isolate(worker: seat, outwards: way != 0, inwards: way != 1, length(&dice))
        case 6: return .slowLink(from: from, to: to, length(&dice))
        case 7: return .resetControl(worker: seat)
        case 8: return .resetLane(from: seat, to: other, lane: nil)
        case 9: return .resetLane(from: seat, to: other, lane: dice.below(16))
        case 10:
            return .clockJump(worker: dice.once(in: 3) ? nil : seat, length(&dice))
        case 11: return .corruptLane(from: seat, to: other, back: dice.once(in: 2))
        case 12: return .corruptControl(worker: seat, back: dice.once(in: 2))
        case 13:
            return .slowWorker(worker: seat, factor: Double(dice.pick([2, 5, 20])), length(&dice))
        case 14: return .unreachable(from: seat, to: other, length(&dice))
        case Self.sourceDeath: return .restart(worker: seat, resume: false)
        default:
            return dice.once(in: 3) ? .crashCoordinator : .leave(worker: seat)
        }
    }

    /// Shorter than the patience, than the silence that evicts, or longer.
    private func length(_ dice: inout Dice) -> Interval {
        switch dice.below(4) {
        case 0: dice.time(10...1_000)
        case 1: dice.time(1_000...6_000)
        case 2: dice.time(6_000...16_000)
        default: dice.time(16_000...40_000)
        }
    }
}
