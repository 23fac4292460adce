/// Dynamic local updates: how many inner steps each replica takes between two departures of a fragment,
/// so that unlike replicas arrive together (Liu et al. 2024, arXiv 2401.09135, "Dynamic Local Updates").
package enum LocalSteps {
    /// steps_w = floor(v_w / v_max x H), at least 1; v: steps per second.
    ///
    /// - Parameter rates: speeds, all above 0.
    package static func steps(rates: [Double], syncEvery: UInt32) -> [UInt32] {
        let fastest = rates.max() ?? 1
        precondition(rates.allSatisfy { $0 > 0 }, "a replica without speed")
        // The quotient would land just below whole numbers; for whole speeds this order does not.
        return rates.map { max(1, UInt32(($0 * Double(syncEvery) / fastest).rounded(.down))) }
    }

    /// H_r of each seat at the start. Members of one replica have one: that of their slowest.
    package static func perSeat(
        _ schedule: RunConfiguration.Schedule, _ topology: Topology
    ) -> [UInt32] {
        let every = max(1, schedule.syncEvery)
        let seats = topology.seats
        switch schedule.localSteps {
        case .equal: return seats.map { _ in every }
        case .nominal, .measured:
            let own: [Interval] = seats.map { seat in
                schedule.inner == .none
                    ? seat.worker.nominalStep
                    : topology.regions[seat.region.index].workers.map(\.nominalStep).max() ?? .zero
            }
            guard let fastest = own.min(), fastest > .zero else { return seats.map { _ in every } }
            // The rule in whole numbers: v_w / v_max = fastest step / own step.
            return own.map {
                max(1, UInt32(fastest.nanoseconds * Int64(every) / $0.nanoseconds))
            }
        }
    }
}
