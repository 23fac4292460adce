package import ClusterModel

extension CheckReport {
    /// What a streaming schedule comes to: which fragment leaves when, and whether its transfer is over
    /// when it has to be applied.
    package struct Streaming: Codable, Equatable, Sendable {
        /// tau; the longest where it is chosen.
        package var overlapSteps: UInt32
        /// Under `overlap: auto`: of each replica.
        package var overlaps: [OverlapChoice.Replica]?
        package var blend: Double
        package var fragments: [Fragment]
        /// Steps of compute between leaving and being applied, in time; absent without step times.
        package var hiddenSeconds: Double?
        /// Blocked per period of `syncEvery` steps, all fragments together.
        package var blockedSeconds: Double?

        package struct Fragment: Codable, Equatable, Sendable {
            package var fragment: Int
            /// The first step after which it leaves; then every `syncEvery`.
            package var firstStep: UInt32
            package var values: UInt64
            package var ranges: Int
            /// On the direction between regions that takes longest for it, and how long.
            package var bytes: UInt64
            package var transferSeconds: Double?
            /// Transfer and one round trip are over within the overlap.
            package var fits: Bool?
        }

        package static let model =
            "A fragment fits if its bytes on the slowest direction and one round trip take no longer "
            + "than the steps it overlaps with; encoding and queueing behind other fragments count as "
            + "nothing."
    }

    static func streaming(
        _ file: ClusterFile, links: [Link], step: Double?
    ) -> Streaming? {
        let schedule = file.configuration.schedule
        guard schedule.outer == .streaming else { return nil }
        let total = file.configuration.model.parameterCount
        let layout = FragmentLayout.ranges(
            of: file.configuration.model, elements: total, fragments: schedule.fragments)
        let choice = OverlapChoice(file.configuration, file.topology, values: total)
        let hidden = choice?.hiddenSeconds ?? step.map { $0 * Double(schedule.overlap) }
        let roundTrip = links.compactMap(\.roundTripSeconds).max() ?? 0
        let slowest = links.max { ($0.transferSeconds ?? 0) < ($1.transferSeconds ?? 0) }
        let fragments = layout.enumerated().map { index, ranges in
            let values = ranges.reduce(UInt64(0)) { $0 + UInt64($1.count) }
            let share = Double(values) / Double(total)
            let transfer = slowest?.transferSeconds.map { $0 * share }
            return Streaming.Fragment(
                fragment: index,
                firstStep: index == 0
                    ? schedule.syncEvery
                    : UInt32(index) * schedule.syncEvery / UInt32(schedule.fragments),
                values: values, ranges: ranges.count,
                bytes: UInt64((Double(slowest?.bytesPerRound ?? 0) * share).rounded()),
                transferSeconds: transfer,
                fits: transfer.flatMap { needed in hidden.map { needed + roundTrip <= $0 } })
        }
        let blocked = hidden.map { hidden in
            fragments.reduce(0) { $0 + max(0, ($1.transferSeconds ?? 0) + roundTrip - hidden) }
        }
        return Streaming(
            overlapSteps: choice?.perSeat.max() ?? schedule.overlap,
            overlaps: choice?.replicas, blend: schedule.blend, fragments: fragments,
            hiddenSeconds: hidden, blockedSeconds: blocked)
    }
}

extension CheckReport.Streaming {
    var text: String {
        TextTable.render(
            ["fragment", "leaves after step", "values", "bytes/turn", "transfer", "fits"],
            fragments.map { fragment in
                [
                    "\(fragment.fragment)", "\(fragment.firstStep)",
                    Figures.grouped(fragment.values), Figures.bytes(Double(fragment.bytes)),
                    fragment.transferSeconds.map(Figures.duration) ?? Figures.absent,
                    fragment.fits.map { $0 ? "yes" : "no" } ?? Figures.absent,
                ]
            }) + "\n" + TextTable.wrapped(summary + " " + Self.model)
            + (overlaps.map { "\n" + Self.reasons($0) } ?? "")
    }

    /// Replicas that are alike in one line.
    private static func reasons(_ replicas: [OverlapChoice.Replica]) -> String {
        OverlapChoice.lines(replicas).map { TextTable.wrapped($0) }.joined(separator: "\n")
    }

    private var summary: String {
        let late = fragments.count { $0.fits == false }
        let room = hiddenSeconds.map { " (\(Figures.duration($0)))" } ?? ""
        let verdict =
            fragments.contains { $0.fits == nil }
            ? ""
            : late == 0 ? " All fit." : " \(late) of \(fragments.count) do not fit: steps wait."
        let later =
            overlaps.map { replicas in
                let least = replicas.map(\.overlap).min() ?? overlapSteps
                return least < overlapSteps ? "\(least) to \(overlapSteps)" : "\(overlapSteps)"
            } ?? "\(overlapSteps)"
        return "Applied \(later) steps later\(room), \(blend) of the local parameters stay."
            + verdict
    }
}
