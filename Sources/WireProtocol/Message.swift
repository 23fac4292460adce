/// A decoded message without its payload, which stays where it was received.
package enum Message: Hashable, Codable, Sendable {
    case hello(Hello)
    case welcome(Welcome)
    case refuse(Refuse)
    case plan(Plan)
    case ready(Ready)
    case go(Go)
    case heartbeat(Heartbeat)
    case heartbeatAck(HeartbeatAck)
    case report(Report)
    case commit(Commit)
    case close(Close)
    case event(EventMessage)
    case suspect(Suspect)
    case leave(Leave)
    case bye(Bye)
    case stop(Stop)
    case evicted(Evicted)
    case error(ErrorMessage)
    case enrol(Enrol)
    case enrolled(Enrolled)
    case offer(Offer)
    case laneHello(LaneHello)
    case laneWelcome(LaneWelcome)
    case chunk(Chunk)
    case acknowledge(Acknowledge)
    case pull(Pull)
    case stateRequest(StateRequest)
    case stateChunk(StateChunk)
    case laneBye(LaneBye)
    /// Another message in it, of the data plane and not a RELAY.
    indirect case relay(Relay)
    case tokens(Tokens)

    package var type: MessageType {
        switch self {
        case .hello: .hello
        case .welcome: .welcome
        case .refuse: .refuse
        case .plan: .plan
        case .ready: .ready
        case .go: .go
        case .heartbeat: .heartbeat
        case .heartbeatAck: .heartbeatAck
        case .report: .report
        case .commit: .commit
        case .close: .close
        case .event: .event
        case .suspect: .suspect
        case .leave: .leave
        case .bye: .bye
        case .stop: .stop
        case .evicted: .evicted
        case .error: .error
        case .enrol: .enrol
        case .enrolled: .enrolled
        case .offer: .offer
        case .laneHello: .laneHello
        case .laneWelcome: .laneWelcome
        case .chunk: .chunk
        case .acknowledge: .acknowledge
        case .pull: .pull
        case .stateRequest: .stateRequest
        case .stateChunk: .stateChunk
        case .laneBye: .laneBye
        case .relay: .relay
        case .tokens: .tokens
        }
    }

    /// The struct inside.
    var fields: any MetaFields {
        switch self {
        case .hello(let fields): fields
        case .welcome(let fields): fields
        case .refuse(let fields): fields
        case .plan(let fields): fields
        case .ready(let fields): fields
        case .go(let fields): fields
        case .heartbeat(let fields): fields
        case .heartbeatAck(let fields): fields
        case .report(let fields): fields
        case .commit(let fields): fields
        case .close(let fields): fields
        case .event(let fields): fields
        case .suspect(let fields): fields
        case .leave(let fields): fields
        case .bye(let fields): fields
        case .stop(let fields): fields
        case .evicted(let fields): fields
        case .error(let fields): fields
        case .enrol(let fields): fields
        case .enrolled(let fields): fields
        case .offer(let fields): fields
        case .laneHello(let fields): fields
        case .laneWelcome(let fields): fields
        case .chunk(let fields): fields
        case .acknowledge(let fields): fields
        case .pull(let fields): fields
        case .stateRequest(let fields): fields
        case .stateChunk(let fields): fields
        case .laneBye(let fields): fields
        case .relay(let fields): fields
        case .tokens(let fields): fields
        }
    }

    /// Reads the fields of a message of `type`; the caller checks that nothing is left.
    init(_ type: MessageType, reading reader: inout ByteReader) throws(FrameError) {
        self =
            switch type {
            case .hello: .hello(try Hello(reading: &reader))
            case .welcome: .welcome(try Welcome(reading: &reader))
            case .refuse: .refuse(try Refuse(reading: &reader))
            case .plan: .plan(try Plan(reading: &reader))
            case .ready: .ready(try Ready(reading: &reader))
            case .go: .go(try Go(reading: &reader))
            case .heartbeat: .heartbeat(try Heartbeat(reading: &reader))
            case .heartbeatAck: .heartbeatAck(try HeartbeatAck(reading: &reader))
            case .report: .report(try Report(reading: &reader))
            case .commit: .commit(try Commit(reading: &reader))
            case .close: .close(try Close(reading: &reader))
            case .event: .event(try EventMessage(reading: &reader))
            case .suspect: .suspect(try Suspect(reading: &reader))
            case .leave: .leave(try Leave(reading: &reader))
            case .bye: .bye(try Bye(reading: &reader))
            case .stop: .stop(try Stop(reading: &reader))
            case .evicted: .evicted(try Evicted(reading: &reader))
            case .error: .error(try ErrorMessage(reading: &reader))
            case .enrol: .enrol(try Enrol(reading: &reader))
            case .enrolled: .enrolled(try Enrolled(reading: &reader))
            case .offer: .offer(try Offer(reading: &reader))
            case .laneHello: .laneHello(try LaneHello(reading: &reader))
            case .laneWelcome: .laneWelcome(try LaneWelcome(reading: &reader))
            case .chunk: .chunk(try Chunk(reading: &reader))
            case .acknowledge: .acknowledge(try Acknowledge(reading: &reader))
            case .pull: .pull(try Pull(reading: &reader))
            case .stateRequest: .stateRequest(try StateRequest(reading: &reader))
            case .stateChunk: .stateChunk(try StateChunk(reading: &reader))
            case .laneBye: .laneBye(try LaneBye(reading: &reader))
            case .relay: .relay(try Relay(reading: &reader))
            case .tokens: .tokens(try Tokens(reading: &reader))
            }
    }
}
