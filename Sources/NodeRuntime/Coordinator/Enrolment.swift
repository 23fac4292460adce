package import ClusterModel
package import WireProtocol

/// Seats that holders of a join token may take, each once.
package struct Enrolment {
    /// What the allow-list calls the token's key: it opens nothing but ENROL.
    static let keyName = "join-token"

    package struct Seat: Equatable {
        package var id: WorkerID
        package var name: String
        package init(id: WorkerID, name: String) {
            self.id = id
            self.name = name
        }
    }

    /// Why a seat is not given, as REFUSE says it.
    package struct Refusal: Error, Equatable {
        package var code: RefusalCode
        package var reason: String
        package var hint: String
    }

    private let seats: [(id: WorkerID, region: RegionID, worker: Topology.Worker)]
    private let regions: [String]
    /// Names of taken seats with the key that took them; nil for one of the allow-list.
    private var taken: [String: PublicKey?] = [:]

    /// - Parameter taken: seats whose keys are known already.
    package init(topology: Topology, taken: [String]) {
        seats = topology.seats
        regions = topology.regions.map(\.name)
        for name in taken { self.taken[name] = .some(nil) }
    }

    /// The seat called `worker` for the holder of `key`. Asking again with the same key is no
    /// mistake: the answer may have been lost.
    package mutating func take(
        worker: String, region: String, key: PublicKey
    ) -> Result<Seat, Refusal> {
        let free = seats.filter { taken[$0.worker.name] == nil }
        let names = free.map { "\($0.worker.name) (\(regions[$0.region.index]))" }
        let hint =
            free.isEmpty
            ? "all seats of the cluster file are taken"
            : "free seats: \(names.joined(separator: ", "))"
        let place = region.isEmpty ? "" : " in region '\(region)'"
        guard
            let seat = seats.first(where: {
                $0.worker.name == worker
                    && (region.isEmpty || regions[$0.region.index] == region)
            })
        else {
            return .failure(
                Refusal(
                    code: .unknownWorker, reason: "the run has no seat '\(worker)'\(place)",
                    hint: hint))
        }
        if let holder = taken[worker], holder != key {
            return .failure(
                Refusal(
                    code: free.isEmpty ? .poolFull : .seatTaken,
                    reason: "seat '\(worker)'\(place) is taken", hint: hint))
        }
        taken[worker] = key
        return .success(Seat(id: seat.id, name: seat.worker.name))
    }
}
