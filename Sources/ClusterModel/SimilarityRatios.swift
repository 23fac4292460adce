/// The two numbers that must agree for a small run to stand for a large one (architecture page,
/// "Efficiency, defined"): how full the link is between two outer rounds, and how long a round trip
/// is beside an inner step.
package struct SimilarityRatios: Codable, Equatable, Sendable {
    /// Bytes of one outer round on the busiest direction of a link / (its rate x the time between
    /// two outer rounds). `nil` when the link is not limited or not described.
    package var linkFill: Double?
    /// Round-trip time / time of an inner step. `nil` when either is not known.
    package var roundTripPerStep: Double?

    package init(linkFill: Double?, roundTripPerStep: Double?) {
        self.linkFill = linkFill
        self.roundTripPerStep = roundTripPerStep
    }

    /// The case the ratios are held against: 100 billion parameters as bf16, an outer round every
    /// 100 steps of 4.9 s (Streaming DiLoCo, arXiv 2501.18512, table 4), 10 Gbit/s and 30 ms round
    /// trip.
    package enum FullScale {
        package static let parameters = 100e9
        package static let bytesPerParameter = 2.0
        package static let stepsBetweenRounds = 100.0
        package static let stepSeconds = 4.9
        package static let bitsPerSecond = 10e9
        package static let roundTripSeconds = 0.030
        package static let text =
            "100 B parameters as bf16, a round every 100 steps of 4.9 s, "
            + "10 Gbit/s, 30 ms round trip"

        package static var ratios: SimilarityRatios {
            SimilarityRatios(
                linkFill: linkFill(atBitsPerSecond: bitsPerSecond),
                roundTripPerStep: roundTripSeconds / stepSeconds)
        }

        /// Link fill of the full-scale case on another link.
        package static func linkFill(atBitsPerSecond rate: Double) -> Double {
            let bits = parameters * bytesPerParameter * 8
            return bits / (rate * stepsBetweenRounds * stepSeconds)
        }
    }

    /// Ratios within this factor of each other count as alike.
    private static let likeness = 1.25

    /// What the bandwidth of this run stands for, and in which direction it errs.
    package var linkSentence: String {
        guard let fill = linkFill, fill > 0 else {
            return "The link is not limited in rate here, so this run says nothing about bandwidth."
        }
        let full = FullScale.linkFill(atBitsPerSecond: FullScale.bitsPerSecond)
        let equivalent = Figures.bitRate(FullScale.bitsPerSecond * full / fill)
        let stands = "The link is as full as that of the full-scale case would be at \(equivalent)"
        if fill * Self.likeness < full {
            return stands + ": on bandwidth this run errs to the favourable side, "
                + "by a factor of \(Figures.significant(full / fill))."
        }
        if fill > full * Self.likeness {
            return stands + ": on bandwidth this run errs to the unfavourable side, "
                + "by a factor of \(Figures.significant(fill / full))."
        }
        return stands + ": on bandwidth this run is alike."
    }

    /// What the delay of this run stands for, and in which direction it errs.
    package var delaySentence: String {
        guard let ratio = roundTripPerStep, ratio > 0 else {
            return "Step time or delay is not known, so this run says nothing about latency."
        }
        let full = FullScale.roundTripSeconds / FullScale.stepSeconds
        if ratio > full * Self.likeness {
            return
                "A round trip is \(Figures.significant(ratio / full)) times longer beside a step "
                + "than at full scale: on latency this run errs to the unfavourable side."
        }
        if ratio * Self.likeness < full {
            return
                "A round trip is \(Figures.significant(full / ratio)) times shorter beside a step "
                + "than at full scale: on latency this run errs to the favourable side."
        }
        return
            "A round trip is as long beside a step as at full scale: on latency this run is alike."
    }
}
