/// How packets are lost: the two-state chain of Gilbert (1960) and Elliott (1963). Each packet is lost
/// with the probability of the state the chain is in; then the chain moves. All probabilities are in
/// parts per billion.
package struct LossParameters: Codable, Equatable, Sendable {
    package var goodToBad: UInt64
    package var badToGood: UInt64
    package var lossInGood: UInt64
    package var lossInBad: UInt64

    package static let certain: UInt64 = 1_000_000_000

    package init(goodToBad: UInt64, badToGood: UInt64, lossInGood: UInt64, lossInBad: UInt64) {
        self.goodToBad = goodToBad
        self.badToGood = badToGood
        self.lossInGood = lossInGood
        self.lossInBad = lossInBad
    }

    /// Each packet for itself, with probability `perBillion`.
    package static func random(perBillion: UInt64) -> LossParameters {
        LossParameters(
            goodToBad: 0, badToGood: certain, lossInGood: perBillion, lossInBad: perBillion)
    }

    /// Runs of lost packets, `meanLength` long on average, that make up `perBillion` of all packets:
    /// nothing is lost in the good state and everything in the bad one.
    package static func bursts(perBillion: UInt64, meanLength: Double) -> LossParameters {
        let leave = 1 / max(1, meanLength)
        let share = min(Double(perBillion) / 1e9, 0.999)
        let enter = min(1, leave * share / (1 - share))
        return LossParameters(
            goodToBad: UInt64((enter * 1e9).rounded()), badToGood: UInt64((leave * 1e9).rounded()),
            lossInGood: 0, lossInBad: certain)
    }

    package var isValid: Bool {
        [goodToBad, badToGood, lossInGood, lossInBad].allSatisfy { $0 <= Self.certain }
    }

    /// Share of packets lost in the long run.
    package var meanLoss: Double {
        let moves = Double(goodToBad + badToGood)
        let bad = moves > 0 ? Double(goodToBad) / moves : 0
        return (bad * Double(lossInBad) + (1 - bad) * Double(lossInGood)) / 1e9
    }
}

/// The chain itself, seeded, one step per packet.
package struct LossModel: Equatable, Sendable {
    package let parameters: LossParameters
    private var generator: SeededGenerator
    private var isBad = false

    /// - Precondition: `parameters.isValid`.
    package init(_ parameters: LossParameters, seed: UInt64) {
        precondition(parameters.isValid, "loss parameters out of range: \(parameters)")
        self.parameters = parameters
        generator = SeededGenerator(seed: seed)
    }

    /// Whether the next packet is lost.
    package mutating func losesNext() -> Bool {
        let loss = isBad ? parameters.lossInBad : parameters.lossInGood
        let isLost = draw(loss)
        if draw(isBad ? parameters.badToGood : parameters.goodToBad) { isBad.toggle() }
        return isLost
    }

    private mutating func draw(_ probability: UInt64) -> Bool {
        generator.integer(below: LossParameters.certain) < probability
    }
}
