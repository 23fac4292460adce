/// Which experts other regions compute alone, and how many of a member's tokens may go there in a step
/// (Protocols/longhaul-1.md, section 7.10).
package struct TokenCrossing: Equatable, Sendable {
    /// `[block][expert]`: the region that computes it alone; nil: every region does.
    package var owners: [[Int?]]
    /// This member's region.
    package var region: Int
    /// By region: the member of the transport that computes its experts for this one; nil: none does.
    package var servers: [Int?]
    /// By region: tokens of this member that may go there in a step, over all blocks.
    package var budgets: [Int]

    package init(owners: [[Int?]], region: Int, servers: [Int?], budgets: [Int]) {
        precondition(servers.count == budgets.count, "tables of regions")
        self.owners = owners
        self.region = region
        self.servers = servers
        self.budgets = budgets
    }

    package var hasOwners: Bool { owners.contains { $0.contains { $0 != nil } } }

    /// By block and expert: whether this member's region computes it.
    package var isOwn: [[Bool]] {
        owners.map { $0.map { $0 == nil || $0 == region } }
    }

    /// By block and expert: the member that computes it for this one.
    func holders(me: Int) -> [[Int]] {
        owners.map { block in
            block.map { owner in
                guard let owner, owner != region else { return me }
                return servers[owner] ?? me
            }
        }
    }
}

/// What became of a member's tokens in one step.
package struct CrossingCounts: Equatable, Sendable {
    /// Choices by expert, block after block, before any was changed.
    package var wanted: [UInt32]
    /// Tokens that left, by region and summed over blocks.
    package var crossed: [Int]
    /// Tokens that wanted to leave and had to stay, and how many of their choices that changed.
    package var stayed = 0
    package var changed = 0

    package init(wanted: [UInt32], crossed: [Int]) {
        self.wanted = wanted
        self.crossed = crossed
    }
}
