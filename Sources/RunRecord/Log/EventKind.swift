internal import ClusterModel

extension RunEvent {
    /// Name of the case, as stored in the log.
    var kind: String {
        switch self {
        case .runStarted: "runStarted"
        case .workerJoined: "workerJoined"
        case .epochStarted: "epochStarted"
        case .stepped: "stepped"
        case .evaluated: "evaluated"
        case .roundCommitted: "roundCommitted"
        case .roundClosed: "roundClosed"
        case .waiting: "waiting"
        case .waited: "waited"
        case .workerEvicted: "workerEvicted"
        case .workerLeft: "workerLeft"
        case .violation: "violation"
        case .coordinatorLost: "coordinatorLost"
        case .coordinatorReturned: "coordinatorReturned"
        case .checkpointWritten: "checkpointWritten"
        case .checkpointFailed: "checkpointFailed"
        case .budget: "budget"
        case .traffic: "traffic"
        case .linkUse: "linkUse"
        case .peakMemory: "peakMemory"
        case .modelWritten: "modelWritten"
        case .codecUse: "codecUse"
        case .lanesDecided: "lanesDecided"
        case .expertUse: "expertUse"
        case .expertsExchanged: "expertsExchanged"
        case .expertOwners: "expertOwners"
        case .tokensCrossed: "tokensCrossed"
        case .stateTaken: "stateTaken"
        case .relayed: "relayed"
        case .note: "note"
        case .runEnded: "runEnded"
        }
    }

    /// Whether the event is rare and worth its own transaction: it must be on disk even if the
    /// process dies in the next moment.
    var isWrittenAtOnce: Bool {
        switch self {
        case .runStarted, .workerJoined, .epochStarted, .workerEvicted, .workerLeft, .violation,
            .coordinatorLost, .coordinatorReturned, .checkpointWritten, .checkpointFailed,
            .modelWritten, .expertOwners, .stateTaken, .runEnded:
            true
        case .stepped, .evaluated, .roundCommitted, .roundClosed, .waiting, .waited, .budget,
            .traffic, .linkUse, .peakMemory, .codecUse, .expertUse, .expertsExchanged,
            .tokensCrossed,
            .lanesDecided, .relayed, .note:
            false
        }
    }
}
