extension RunConfiguration.Schedule {
    /// Every step is one all-reduce of all members. Nobody but the owner of a slice needs what a region has
    /// reduced of it, so regions have no means of their own (docs/decisions/0020-one-collective.md).
    package var isOneCollective: Bool { inner == .everyStep && outer == .everyStep }

    /// What a region contributes to a round is reduced from its members' parts before it crosses a link:
    /// where members are replicas by themselves too, if the pool has several regions
    /// (docs/decisions/0022-parts-of-replicas.md). Not where the coordinator closes sets, since those are of
    /// single replicas.
    package var reducesParts: Bool { isOneCollective || inner == .none && outer != .decoupled }

    /// A value crosses from region to region once a round, not once for each replica there.
    package var crossesOnce: Bool { inner == .everyStep || reducesParts }
}
