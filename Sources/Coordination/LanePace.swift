package import ClusterModel

/// How fast one lane over a link may send, so that the workers of a region, which have equal parts of
/// what crosses, send at equal rates and together what the link carries.
///
/// Left to themselves connections share a link unequally for seconds, and an exchange is over when the slowest
/// one is; and they fill the queue in front of it, where each direction holds up the other's acknowledgements
/// (docs/links.md, "Pace").
package enum LanePace {
    /// Of a link's rate: TCP's payload of full packets, less a hundredth for control, acknowledgements and
    /// what is sent again. With more the queue fills.
    package static let share = 0.99 * 1_448 / 1_500

    /// Bytes per second of one lane; nil: the link's rate is not known.
    ///
    /// - Parameters:
    ///   - members: workers of `here` that take part.
    ///   - lanes: of one worker to one peer.
    package static func bytesPerSecond(
        over topology: Topology, from here: RegionID, to there: RegionID, members: Int, lanes: Int
    ) -> UInt64? {
        guard here != there, let link = topology.link(between: here, and: there) else { return nil }
        let rate = link.parameters(from: here).bitsPerSecond
        guard rate > 0 else { return nil }
        let all = Double(rate) / 8 * share
        return UInt64(max(1, all / Double(max(1, members) * max(1, lanes))))
    }
}
