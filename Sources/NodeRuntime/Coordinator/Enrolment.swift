import ClusterModel
import WireProtocol

/// Seats that holders of a join token may take, each once.
struct Enrolment {
    /// What the allow-list calls the token's key: it opens nothing but ENROL.
    static let keyName = "join-token"

    struct Seat: Equatable {
        var id: WorkerID
        var name: String
    }

    struct Refusal: Error, Equatable {
        var code: RefusalCode
        var reason: String
        var hint: String
    }

    private let seats: [(id: WorkerID, region: RegionID, worker: Topology.Worker)]
    private let regions: [String]
    private var taken: [String]

    init(topology: Topology, taken: [String]) {
        seats = topology.seats
        regions = topology.regions.map(\.name)
        self.taken = taken
    }

    /// An empty worker name takes the first free seat (of `region`, if that is given).
    mutating func take(worker: String, region: String) -> Result<Seat, Refusal> {
        let free = seats.filter { !taken.contains($0.worker.name) }
        let fitting = free.filter { seat in
            (worker.isEmpty || seat.worker.name == worker)
                && (region.isEmpty || regions[seat.region.index] == region)
        }
        guard let seat = fitting.first else {
            let names = free.map { "\($0.worker.name) (\(regions[$0.region.index]))" }
            let wanted = worker.isEmpty ? "a seat" : "seat '\(worker)'"
            return .failure(
                Refusal(
                    code: free.isEmpty ? .poolFull : .unknownWorker,
                    reason:
                        "\(wanted)\(region.isEmpty ? "" : " in region '\(region)'") is not free",
                    hint: free.isEmpty
                        ? "all seats of the cluster file are taken"
                        : "free seats: \(names.joined(separator: ", "))"))
        }
        taken.append(seat.worker.name)
        return .success(Seat(id: seat.id, name: seat.worker.name))
    }
}
