package import ClusterModel
import WireProtocol

/// How many lanes lead to a peer, and why.
package struct LaneDecision: Codable, Equatable, Sendable {
    package var lanes: UInt16
    /// For people; without a full stop.
    package var because: String
    package init(lanes: UInt16, because: String) {
        self.lanes = lanes
        self.because = because
    }
}

/// What is known of the way to a peer before anything was sent on it.
package struct LaneRoute: Equatable, Sendable {
    /// The cluster file's, or 1 inside a region.
    package var fixed: LaneDecision?
    /// Bits per second towards the peer; 0: not known.
    package var rate: UInt64
    /// Events of loss per 10^9 packets: bursts count once.
    package var lossPerBillion: UInt64

    package init(fixed: LaneDecision? = nil, rate: UInt64, lossPerBillion: UInt64) {
        self.fixed = fixed
        self.rate = rate
        self.lossPerBillion = lossPerBillion
    }

    /// From a worker of `here` to one of `there`.
    package init(over topology: Topology, from here: RegionID, to there: RegionID) {
        self.init(rate: 0, lossPerBillion: 0)
        guard here != there else {
            fixed = LaneDecision(lanes: 1, because: "both are in one region")
            return
        }
        guard let link = topology.link(between: here, and: there) else { return }
        let parameters = link.parameters(from: here)
        rate = parameters.bitsPerSecond
        if let loss = parameters.loss { lossPerBillion = loss.lossInGood + loss.goodToBad }
        if let lanes = link.lanes {
            fixed = LaneDecision(lanes: lanes, because: "the cluster file says so")
        }
    }
}

/// What this machine's kernel and its connections say.
package struct LaneConditions: Codable, Equatable, Sendable {
    /// Bytes one connection can have under way at most (the kernel's largest send and receive buffers);
    /// 0: not known.
    package var windowLimit: UInt64
    /// The kernel's congestion control, as it names it ("cubic", "bbr"); nil: not known.
    package var congestion: String?
    package init(windowLimit: UInt64 = 0, congestion: String? = nil) {
        self.windowLimit = windowLimit
        self.congestion = congestion
    }

    /// BBR keeps to the rate it measures: it starts fast, and a loss does not shrink what it has under
    /// way (Cardwell et al., BBR: Congestion-Based Congestion Control, ACM Queue 2016).
    var keepsRate: Bool { congestion?.hasPrefix("bbr") ?? false }
}

extension LaneDecision {
    /// Lanes share what the link holds in one round trip (rate x round trip). One connection holds at
    /// most the kernel's window; with losses at most `lossWindow`. Four at least, because each starts
    /// slowly by itself; eight at most, sixteen where losses ask for them. Under BBR neither is so, and
    /// fewer connections send in longer bursts, which cost both kernels less: as few as the window allows.
    package static func choose(
        _ route: LaneRoute, roundTrip: Interval, conditions: LaneConditions
    ) -> LaneDecision {
        if let fixed = route.fixed { return fixed }
        let distance = Figures.duration(roundTrip.seconds)
        guard roundTrip >= CoordinationLimits.nearRoundTrip else {
            return LaneDecision(
                lanes: 1, because: "a round trip of \(distance) is no distance")
        }
        guard route.rate > 0 else {
            return LaneDecision(
                lanes: CoordinationLimits.defaultLanes,
                because: "a round trip of \(distance), at a rate that nobody has stated")
        }
        let held = Double(route.rate) / 8 * roundTrip.seconds
        let what =
            "\(Figures.bitRate(Double(route.rate))) x \(distance) hold "
            + Figures.bytes(held)
        let byLoss = lossWindow(route.lossPerBillion, roundTrip)
        if let byLoss, held > byLoss, !conditions.keepsRate {
            let wanted = (held / byLoss).rounded(.up)
            let lanes = clamp(wanted, to: ProtocolLimits.lanes)
            return LaneDecision(
                lanes: lanes,
                because: "\(what), one connection \(Figures.bytes(byLoss)) at "
                    + "\(Figures.significant(Double(route.lossPerBillion) / 1e7)) % loss")
        }
        guard held >= Double(ProtocolLimits.dataPayloadBytes) else {
            return LaneDecision(lanes: 1, because: "\(what), less than one chunk")
        }
        let limit = Double(conditions.windowLimit)
        if conditions.keepsRate, held <= limit {
            return LaneDecision(
                lanes: 1, because: "\(what), which \(conditions.congestion ?? "BBR") fills alone")
        }
        let fewest: UInt16 = conditions.keepsRate ? 1 : CoordinationLimits.defaultLanes
        guard limit > 0, held > limit * Double(fewest) else {
            return LaneDecision(lanes: CoordinationLimits.defaultLanes, because: what)
        }
        let windows = min((held / limit).rounded(.up), Double(CoordinationLimits.losslessLanes))
        return LaneDecision(
            lanes: UInt16(windows),
            because: "\(what), one connection \(Figures.bytes(limit)) (the kernel's buffers)")
    }

    private static func clamp(_ wanted: Double, to most: UInt16) -> UInt16 {
        UInt16(min(max(wanted, Double(CoordinationLimits.defaultLanes)), Double(most)))
    }

    /// Bytes one TCP connection has under way on average at `perBillion` events of loss: the larger of
    /// Reno's 1.22 / sqrt(p) segments (Mathis et al. 1997) and CUBIC's 1.054 (RTT / p)^(3/4) (RFC 9438,
    /// section 5.1, with C = 0.4 and beta = 0.7). Nil without losses.
    private static func lossWindow(_ perBillion: UInt64, _ roundTrip: Interval) -> Double? {
        guard perBillion > 0 else { return nil }
        let share = Double(perBillion) / 1e9
        let reno = 1.22 / share.squareRoot()
        let ratio = roundTrip.seconds / share
        let cubic = 1.054 * (ratio * ratio * ratio).squareRoot().squareRoot()
        return 1_448 * max(reno, cubic)
    }
}
