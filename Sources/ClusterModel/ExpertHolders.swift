/// Which member of a region computes which experts where `spread: region` says so, as long as nothing has
/// placed them anew.
package enum ExpertHolders {
    /// Member i of W holds those from ceil(i E / W) to ceil((i + 1) E / W) - 1 of E.
    package static func holder(of expert: Int, experts: Int, members: Int) -> Int {
        expert * members / experts
    }
}

extension RunConfiguration {
    /// Each expert is computed by one worker of a region, which alone contributes it to what the region
    /// all-reduces.
    package var spreadsExperts: Bool {
        model.experts?.spread == .region && schedule.inner == .everyStep
    }

    /// Experts that a plan names: because their values count by the tokens they saw, or because one member
    /// of a region contributes them. A chunk holds elements of one of them, or of none.
    package func plannedExperts(elements: UInt64) -> [ExpertBlock] {
        spreadsExperts
            ? FragmentLayout.experts(of: model, elements: elements)
            : expertBlocks(elements: elements)
    }
}
