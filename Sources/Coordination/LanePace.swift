package import ClusterModel
import WireProtocol

/// How fast one lane over a link may send, so that what the members of a region send to another in a round
/// is all there at one time, and together they send what the link carries.
///
/// Left to themselves connections share a link unequally for seconds, and an exchange is over when the
/// slowest one is; and they fill the queue in front of it, where each direction holds up the other's
/// acknowledgements (docs/links.md, "Pace").
package enum LanePace {
    /// Of a link's rate: TCP's payload of full packets, less a hundredth for control, acknowledgements and
    /// what is sent again. With more the queue fills.
    package static let usable = 0.99 * 1_448 / 1_500

    /// Bytes per second of one lane, by the highest rate that the file states for the link at any time;
    /// nil: it states none.
    ///
    /// - Parameters:
    ///   - share: of what all of `here` send to `there`, what goes to the lane's peer.
    ///   - lanes: of one worker to one peer.
    package static func bytesPerSecond(
        over topology: Topology, from here: RegionID, to there: RegionID, share: Double, lanes: Int
    ) -> UInt64? {
        guard here != there, let link = topology.link(between: here, and: there) else { return nil }
        let stated = link.parameters(from: here).bitsPerSecond
        let changed = (link.changes ?? []).filter { ($0.from ?? here) == here }.compactMap(\.rate)
        guard stated > 0, !changed.contains(0) else { return nil }
        let all = Double(changed.reduce(stated, max)) / 8 * usable
        return UInt64(max(1, all * share / Double(max(1, lanes))))
    }
}

extension ActivePlan {
    /// For each member of another region to which this worker sends in a round of all fragments: what it
    /// sends there, as a share of what all of its region send to that one's.
    package var laneShares: [WorkerID: Double] {
        var own: [Rank: UInt64] = [:]
        var all: [RegionID: UInt64] = [:]
        func add(_ elements: Int, from sender: Rank, to receiver: Rank) {
            let region = plan.members[receiver.index].region
            guard plan.members[sender.index].region == me.region, region != me.region else {
                return
            }
            all[region, default: 0] += UInt64(elements)
            if sender == rank { own[receiver, default: 0] += UInt64(elements) }
        }
        for fragment in plan.fragments {
            let geometry = geometry(of: .outer(fragment: fragment.id, round: 1))
            for slice in 0..<geometry.sliceCount {
                let elements = geometry.range(ofSlice: slice).count
                let owner = geometry.owner(ofSlice: slice)
                let kept = keepsExperts ? geometry.expertElements(ofSlice: slice) : 0
                for group in geometry.groups.indices {
                    add(
                        elements - kept, from: geometry.sender(group: group, slice: slice),
                        to: owner)
                    // Whoever has computed an expert sends it; members have about as many.
                    guard kept > 0 else { continue }
                    let members = geometry.groups[group]
                    for member in members { add(kept / members.count, from: member, to: owner) }
                }
                for receiver in geometry.meanReceivers(slice: slice) {
                    add(elements, from: owner, to: receiver)
                }
            }
        }
        var shares: [WorkerID: Double] = [:]
        for member in plan.members {
            guard let elements = own[member.rank], let sum = all[member.region], sum > 0 else {
                continue
            }
            shares[member.workerID] = Double(elements) / Double(sum)
        }
        return shares
    }
}
