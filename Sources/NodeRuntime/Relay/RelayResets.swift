internal import ClusterModel

/// When the schedule resets connections, and which.
struct RelayResets {
    private let changes: [LinkChange]
    private let origin: Int64
    private var generator: SeededGenerator
    private var due: [Int64]

    /// The next instant at which something is reset; `.max` when nothing is.
    var next: Int64 { due.min() ?? .max }

    init(_ changes: [LinkChange], seed: UInt64, origin: Int64) {
        self.changes = changes.filter { $0.reset != nil }
        self.origin = origin
        generator = SeededGenerator(seed: seed)
        due = self.changes.map { $0.nextReset(after: -1).map { $0 + origin } ?? .max }
    }

    /// The flows to reset now. Instants that were missed are made up for once.
    mutating func take(dueBy now: Int64, from flows: [UInt64]) -> [UInt64] {
        var taken: [UInt64] = []
        for index in changes.indices where due[index] <= now {
            switch changes[index].reset {
            case .all: taken += flows
            case .one where !flows.isEmpty:
                taken.append(flows[Int(generator.integer(below: UInt64(flows.count)))])
            case .one, nil: break
            }
            due[index] = changes[index].nextReset(after: now - origin).map { $0 + origin } ?? .max
        }
        return taken
    }
}
