/// The connection a message travels on: worker to coordinator, or worker to worker.
package enum Plane: String, CaseIterable, Codable, Sendable {
    case control
    case data
}

/// Byte 5 of the header. Numbers below 32 belong to the control plane, the others to the data plane
/// (section 5 of the specification).
package enum MessageType: UInt8, CaseIterable, Codable, Sendable {
    case hello = 1
    case welcome = 2
    case refuse = 3
    case plan = 4
    case ready = 5
    case go = 6
    case heartbeat = 7
    case heartbeatAck = 8
    case report = 9
    case commit = 10
    case close = 11
    case event = 12
    case suspect = 13
    case leave = 14
    case bye = 15
    case stop = 16
    case evicted = 17
    case error = 18
    case enrol = 19
    case enrolled = 20
    case offer = 21
    case laneHello = 32
    case laneWelcome = 33
    case chunk = 34
    case acknowledge = 35
    case pull = 36
    case stateRequest = 37
    case stateChunk = 38
    case laneBye = 39
    case relay = 41
    case tokens = 42

    /// Whether frames of this type may travel on `plane`. ERROR may travel on both: a lane has no
    /// other way to say why it is refused.
    package func isPermitted(on plane: Plane) -> Bool {
        if self == .error { return true }
        switch plane {
        case .control: return rawValue < 32
        case .data: return rawValue >= 32
        }
    }

    /// Whether a frame of this type takes a number of its lane's direction; all others carry
    /// sequence 0 on a lane. On the control connection every frame is numbered.
    package var isSequencedOnLane: Bool {
        switch self {
        case .chunk, .pull, .stateRequest, .stateChunk, .relay, .tokens: true
        case .laneHello, .laneWelcome, .acknowledge, .laneBye, .error: false
        case .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat, .heartbeatAck, .report,
            .commit, .close, .event, .suspect, .leave, .bye, .stop, .evicted, .enrol, .enrolled,
            .offer:
            false
        }
    }

    /// Whether a RELAY may carry it.
    package var isRelayed: Bool {
        switch self {
        case .laneHello, .laneWelcome, .chunk, .acknowledge, .pull, .stateRequest, .stateChunk,
            .laneBye, .tokens:
            true
        case .hello, .welcome, .refuse, .plan, .ready, .go, .heartbeat, .heartbeatAck, .report,
            .commit, .close, .event, .suspect, .leave, .bye, .stop, .evicted, .error, .enrol,
            .enrolled, .offer, .relay:
            false
        }
    }

    /// The name in the specification.
    package var name: String {
        switch self {
        case .hello: "HELLO"
        case .welcome: "WELCOME"
        case .refuse: "REFUSE"
        case .plan: "PLAN"
        case .ready: "READY"
        case .go: "GO"
        case .heartbeat: "HEARTBEAT"
        case .heartbeatAck: "HEARTBEAT-ACK"
        case .report: "REPORT"
        case .commit: "COMMIT"
        case .close: "CLOSE"
        case .event: "EVENT"
        case .suspect: "SUSPECT"
        case .leave: "LEAVE"
        case .bye: "BYE"
        case .stop: "STOP"
        case .evicted: "EVICTED"
        case .error: "ERROR"
        case .enrol: "ENROL"
        case .enrolled: "ENROLLED"
        case .offer: "OFFER"
        case .laneHello: "LANE-HELLO"
        case .laneWelcome: "LANE-WELCOME"
        case .chunk: "CHUNK"
        case .acknowledge: "ACK"
        case .pull: "PULL"
        case .stateRequest: "STATE-REQUEST"
        case .stateChunk: "STATE-CHUNK"
        case .laneBye: "LANE-BYE"
        case .relay: "RELAY"
        case .tokens: "TOKENS"
        }
    }
}
