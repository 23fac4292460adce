/// How finely a run is simulated; printed with every result.
package enum Fidelity: String, CaseIterable, Codable, Sendable {
    /// Every frame, through the machines that ship.
    case chunk
    /// As `chunk`, but a slice travels in one frame.
    case slice
    /// The coordinator that ships, with every member; workers and collectives by formula.
    case round

    /// What is real and what is not, in one line.
    package var text: String {
        switch self {
        case .chunk: "fidelity chunk: machines of coordinator and workers real, frame by frame"
        case .slice: "fidelity slice: machines real, one frame per slice instead of per chunk"
        case .round: "fidelity round: control plane real, collectives modelled"
        }
    }

    /// Workers above which frame by frame takes hours: a pool of W workers exchanges at least W^2
    /// frames a round.
    package static let suggestsRoundAbove = 200
}
