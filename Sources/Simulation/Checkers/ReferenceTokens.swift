extension ReferenceReduction {
    /// What a contribution counts for: with all tokens, and where experts count their own, by expert.
    struct Tokens: Hashable {
        var all: UInt64
        var experts: [UInt64] = []

        /// 1 at least for each expert of who has trained, as a member says it.
        func weight(_ expert: Int?) -> UInt64 {
            guard let expert, !experts.isEmpty else { return all }
            return max(experts[expert], all > 0 ? 1 : 0)
        }

        init(all: UInt64, experts: [UInt64] = []) {
            self.all = all
            self.experts = experts
        }

        /// What a region counts for whose members have reduced their parts.
        init(of members: [Tokens], experts: Int) {
            all = members.reduce(0) { $0 + $1.all }
            self.experts =
                members.contains { !$0.experts.isEmpty }
                ? (0..<experts).map { expert in members.reduce(0) { $0 + $1.weight(expert) } } : []
        }
    }
}
