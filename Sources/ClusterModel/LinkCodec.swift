/// Chooses the transform of a link: the most precise one whose transfer fits into the time there is.
package struct LinkCodec: Codable, Equatable, Sendable {
    package var transform: TransformID
    /// Of the bytes at the link's rate, and the round trip; nil where the rate is not limited.
    package var transferSeconds: Double?
    package var availableSeconds: Double
    /// Whether it fits; if not, the choice is the smallest and the round blocks for the rest.
    package var fits: Bool
    /// For people.
    package var reason: String

    /// Under `between: auto`, what crosses no link, and all where step times are not known.
    package static let start = TransformID.int8

    /// From precise to small. Top-k is not among them: it wants another outer optimiser.
    package static let candidates: [TransformID] = [.fp32, .bf16, .int8, .int4]

    /// Share of the time between two rounds that a schedule which blocks may lose to the transfer.
    package static let blockingShare = 0.01

    /// - Parameters:
    ///   - values: that cross the link in one direction per round.
    ///   - bitsPerSecond: of the link; 0 = not limited.
    ///   - available: tau steps under overlap, else ``blockingShare`` of the time between two rounds.
    ///   - most: the most precise transform to consider.
    package init(
        values: Double, bitsPerSecond: UInt64, roundTripSeconds: Double, available: Double,
        most: TransformID = .fp32
    ) {
        availableSeconds = available
        let first = Self.candidates.firstIndex(of: most) ?? 0
        let considered = Self.candidates[first...]
        guard bitsPerSecond > 0 else {
            transform = considered[first]
            fits = true
            reason = "the link is not limited"
            return
        }
        func seconds(_ transform: TransformID) -> Double {
            values * transform.storedBytesPerValue * 8 / Double(bitsPerSecond) + roundTripSeconds
        }
        let chosen = considered.first { seconds($0) <= available }
        let smallest = considered[considered.endIndex - 1]
        transform = chosen ?? smallest
        fits = chosen != nil
        let needed = seconds(transform)
        transferSeconds = needed
        let rate = Figures.bitRate(Double(bitsPerSecond))
        let time = Figures.duration(available)
        guard let chosen else {
            reason =
                "even \(smallest.name) takes \(Figures.duration(needed)) at \(rate), and there are "
                + "\(time): the round blocks for the rest"
            return
        }
        var text = "takes \(Figures.duration(needed)) of \(time) at \(rate)"
        if let place = considered.firstIndex(of: chosen), place > first {
            let finer = considered[place - 1]
            text += "; \(finer.name) would take \(Figures.duration(seconds(finer)))"
        }
        reason = text
    }
}
