internal import ClusterModel

/// The time line and the counts of what happened besides training.
struct IncidentTally {
    private struct WaitKey: Hashable {
        var observer: String
        var activity: String
        var since: Int64
    }

    private(set) var incidents: [RunSummary.Incident] = []
    private(set) var counts = RunSummary.Counts()
    private var waits: [WaitKey: (incident: Int?, seconds: Double)] = [:]
    private var outage: (start: Double, incident: Int?, workers: Set<WorkerID>)?

    mutating func add(
        _ kind: RunSummary.Incident.Kind, at seconds: Double, until end: Double? = nil,
        _ text: String
    ) {
        _ = append(kind, at: seconds, until: end, text)
    }

    /// - Returns: its index, or `nil` when the list is full.
    private mutating func append(
        _ kind: RunSummary.Incident.Kind, at seconds: Double, until end: Double?, _ text: String
    ) -> Int? {
        guard incidents.count < RunSummary.incidentLimit else { return nil }
        incidents.append(.init(kind: kind, seconds: seconds, endSeconds: end, text: text))
        return incidents.count - 1
    }

    mutating func count(_ change: (inout RunSummary.Counts) -> Void) { change(&counts) }

    /// The same wait is told more than once while it lasts, and when it is over. Where its end was not told
    /// (its observer died), its length is from its start to when it was last told, so at least that.
    mutating func addWait(
        observer: String, activity: String, since: Instant, start: Double, now: Double, text: String
    ) {
        let key = WaitKey(observer: observer, activity: activity, since: since.nanoseconds)
        let seconds = max(0, now - start)
        if let known = waits[key] {
            counts.waitSeconds += seconds - known.seconds
            waits[key] = (known.incident, seconds)
            if let index = known.incident {
                incidents[index].endSeconds = now
                incidents[index].text = text
            }
            return
        }
        counts.waits += 1
        counts.waitSeconds += seconds
        waits[key] = (append(.waiting, at: start, until: now, text), seconds)
    }

    mutating func coordinatorLost(by worker: WorkerID, name: String, since start: Double) {
        if outage == nil {
            counts.coordinatorOutages += 1
            let text = "coordinator out of reach for \(name)"
            let incident = append(.coordinatorLost, at: start, until: nil, text)
            outage = (start, incident, [])
        }
        outage?.workers.insert(worker)
    }

    /// The worker has the coordinator again, or is gone.
    mutating func coordinatorBack(for worker: WorkerID, at now: Double) {
        guard var open = outage, open.workers.remove(worker) != nil else { return }
        outage = open
        guard open.workers.isEmpty else { return }
        counts.coordinatorOutageSeconds += max(0, now - open.start)
        if let index = open.incident { incidents[index].endSeconds = now }
        outage = nil
    }
}
