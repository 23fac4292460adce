internal import ClusterModel

/// What members passed on between others, by relay and direction, over all lives of the relays.
struct RelayTally {
    private struct Key: Hashable, Comparable {
        var from: WorkerID
        var to: WorkerID
        var relay: WorkerID
        static func < (a: Self, b: Self) -> Bool {
            (a.from, a.to, a.relay) < (b.from, b.to, b.relay)
        }
    }

    private var counts: [Key: Cumulative<LinkCount>] = [:]

    mutating func add(_ uses: [RunEvent.RelayUse], by relay: WorkerID) {
        for use in uses {
            let key = Key(from: use.from, to: use.to, relay: relay)
            var count = LinkCount()
            count.bytes = use.bytes
            count.frames = use.frames
            counts[key, default: Cumulative()].update(count)
        }
    }

    func figures(_ name: (WorkerID) -> String) -> [RunSummary.Relayed] {
        counts.keys.sorted().compactMap { key in
            counts[key].map {
                RunSummary.Relayed(
                    from: name(key.from), to: name(key.to), via: name(key.relay),
                    frames: $0.total.frames, bytes: $0.total.bytes)
            }
        }
    }
}

extension RunSummary.Relayed {
    /// For people: `a -> b via c`.
    var path: String { "\(from) -> \(to) via \(via)" }
}
