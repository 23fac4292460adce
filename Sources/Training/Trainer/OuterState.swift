import TrainingKernels

/// Outer copy, outer momentum and the mean outer gradient of the fragments under way.
///
/// Fragments are disjoint, so one vector holds the means of all of them.
final class OuterState {
    let copy: FloatStorage
    let momentum: FloatStorage
    /// Between leaving and the mean's arrival: what the fragment contributes.
    let mean: FloatStorage
    /// What is offered and not in a mean yet; made when something is.
    private(set) lazy var offered = FloatStorage(count: copy.floats.count)

    init(count: Int) {
        copy = FloatStorage(count: count)
        momentum = FloatStorage(count: count)
        mean = FloatStorage(count: count)
    }

    /// scratch = outer copy - live, element by element.
    func outerGradient(live: Floats, range: Range<Int>, into scratch: Floats) {
        let start = copy.floats.part(range)
        let now = live.part(range)
        precondition(scratch.count == range.count)
        var index = 0
        while index + laneCount <= range.count {
            scratch.store(start.lanes(at: index) - now.lanes(at: index), at: index)
            index += laneCount
        }
        while index < range.count {
            scratch[index] = start[index] - now[index]
            index += 1
        }
    }

    /// The outer step of one range and of the live parameters; see `Trainer.outerStep`.
    func step(
        range: Range<Int>, optimiser: some OuterOptimiser, round: UInt32, update: LiveUpdate,
        live: Floats
    ) {
        switch update {
        case .blended(let blend):
            precondition((0...1).contains(blend), "blend \(blend) is not in 0...1")
            step(range: range, optimiser: optimiser, round: round)
            self.blend(range: range, blend, live)
        case .moved(let merges):
            lift(range: range, merges: merges, live)
            step(range: range, optimiser: optimiser, round: round)
            let now = live.part(range)
            let outer = copy.floats.part(range)
            for index in 0..<range.count { now[index] = now[index] + outer[index] }
        }
    }

    /// What the live parameters keep: their difference from the outer copy, without what was offered if
    /// the mean has it.
    private func lift(range: Range<Int>, merges: Bool, _ live: Floats) {
        let now = live.part(range)
        let outer = copy.floats.part(range)
        for index in 0..<range.count { now[index] = now[index] - outer[index] }
        guard merges else { return }
        let given = offered.floats.part(range)
        for index in 0..<range.count { now[index] = now[index] + given[index] }
    }

    private func step(range: Range<Int>, optimiser: some OuterOptimiser, round: UInt32) {
        copy.floats.part(range).withMutableSpan { parameters in
            momentum.floats.part(range).withMutableSpan { buffer in
                mean.floats.part(range).withSpan { gradient in
                    optimiser.step(
                        parameters: &parameters, buffer: &buffer, gradient: gradient,
                        round: round)
                }
            }
        }
    }

    private func blend(range: Range<Int>, _ blend: Float, _ live: Floats) {
        let now = live.part(range)
        let outer = copy.floats.part(range)
        if blend == 0 {
            // A copy, not arithmetic: 0 * live would keep an infinity alive as a NaN.
            now.copy(from: outer)
            return
        }
        for index in 0..<range.count {
            now[index] = blend * now[index] + (1 - blend) * outer[index]
        }
    }
}
