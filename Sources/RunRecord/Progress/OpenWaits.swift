/// Waits that have been told and are not over, by what is waited for: who says the same as somebody before it
/// does not say it to a person again.
struct OpenWaits {
    private struct Wait {
        var activity: String
        var names: [String]
        /// The first one speaks for all.
        var observers: [String]
    }

    private var waits: [Wait] = []

    /// - Returns: whether a person is told: of a new wait, or by the one who spoke of it first.
    mutating func begin(observer: String, activity: String, names: [String]) -> Bool {
        let known = waits.firstIndex { $0.activity == activity && $0.names == names }
        if let known, waits[known].observers.contains(observer) {
            return waits[known].observers[0] == observer
        }
        _ = end(observer: observer, activity: activity)
        guard let place = waits.firstIndex(where: { $0.activity == activity && $0.names == names })
        else {
            waits.append(Wait(activity: activity, names: names, observers: [observer]))
            return true
        }
        waits[place].observers.append(observer)
        return false
    }

    /// - Returns: whether nobody waits for it any more.
    mutating func end(observer: String, activity: String) -> Bool {
        guard
            let place = waits.firstIndex(where: {
                $0.activity == activity && $0.observers.contains(observer)
            })
        else { return false }
        waits[place].observers.removeAll { $0 == observer }
        guard waits[place].observers.isEmpty else { return false }
        waits.remove(at: place)
        return true
    }

    /// It is gone, and no end of its waits will be told.
    mutating func forget(_ observer: String) {
        for index in waits.indices { waits[index].observers.removeAll { $0 == observer } }
        waits.removeAll(where: \.observers.isEmpty)
    }
}
