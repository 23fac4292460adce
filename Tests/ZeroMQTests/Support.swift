import Glibc
import Testing
import ZeroMQ

/// A bound for waits which end long before unless something is broken; never part of a result.
let patienceNanoseconds: Int64 = 20_000_000_000

/// A context with an authenticator, a server key and a client key on the allow-list.
final class Fixture {
    static let domain = "longhaul-tests"

    let context: Context
    let authenticator: ZapAuthenticator
    let serverKeys: CurveKeyPair
    let clientKeys: CurveKeyPair

    init() throws {
        context = try Context()
        serverKeys = try .generate()
        clientKeys = try .generate()
        authenticator = try ZapAuthenticator(
            context, domain: Self.domain, allowing: [clientKeys.publicKey: "worker-1"])
    }

    /// Everything a test opened must be closed by now: terminating says so otherwise.
    func finish() throws {
        authenticator.stop()
        try context.terminate(withinMilliseconds: 20_000)
    }

    func serverOptions() -> SocketOptions {
        SocketOptions(security: .curveServer(serverKeys, domain: Self.domain))
    }

    func clientOptions(_ keys: CurveKeyPair? = nil) -> SocketOptions {
        SocketOptions(
            security: .curveClient(keys ?? clientKeys, server: serverKeys.publicKey))
    }
}

/// Turns a poller until `done` says so.
func turn(
    _ sockets: [Socket], for interest: Poller.Interest = .readable, until done: () throws -> Bool
) throws {
    var poller = Poller()
    for (index, socket) in sockets.enumerated() {
        try poller.add(socket, token: UInt64(index), for: interest)
    }
    let deadline = MonotonicClock.now() + patienceNanoseconds
    var ready: [Poller.Ready] = []
    while try !done() {
        try #require(MonotonicClock.now() < deadline, "no progress")
        try poller.wait(until: min(deadline, MonotonicClock.now() + 50_000_000), into: &ready)
    }
}

/// Waits for the first event which `matches`; the events before it are returned too.
func events(
    of monitor: SocketMonitor, until matches: (MonitorEvent.Kind) -> Bool
) throws -> [MonitorEvent.Kind] {
    var seen: [MonitorEvent.Kind] = []
    try turn([monitor.socket]) {
        while let event = try monitor.next() {
            seen.append(event.kind)
            if matches(event.kind) { return true }
        }
        return false
    }
    return seen
}

/// Sends one message, waiting for room.
func sendWhenPossible(_ socket: Socket, _ bytes: [UInt8]) throws {
    var message = try Message(copying: bytes)
    var outcome = SendOutcome.wouldBlock
    try turn([socket], for: .writable) {
        outcome = try socket.send(&message)
        return outcome != .wouldBlock
    }
    #expect(outcome == .sent)
}

/// Waits for one routed message: its sender, bytes and user id.
func receiveRouted(
    _ socket: Socket
) throws -> (sender: RoutingID, bytes: [UInt8], user: String?) {
    var result: (RoutingID, [UInt8], String?)?
    try turn([socket]) {
        guard let message = try socket.receiveRouted() else { return false }
        result = (message.sender, message.body.copiedBytes, message.body.userID)
        return true
    }
    return try #require(result)
}

/// Waits for one frame.
func receiveBytes(_ socket: Socket) throws -> [UInt8] {
    var result: [UInt8]?
    try turn([socket]) {
        result = try socket.receive()?.copiedBytes
        return result != nil
    }
    return try #require(result)
}

/// A new directory under the temporary directory, gone when the body is done or throws.
///
/// - Parameter names: what the body may leave there; anything else is a failure.
func withTemporaryDirectory(leaving names: [String], _ body: (String) throws -> Void) throws {
    let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/longhaul-zeromq-XXXXXX".utf8CString)
    try #require(unsafe mkdtemp(&template) != nil)
    let directory = String(
        decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer {
        for name in names { _ = unsafe unlink("\(directory)/\(name)") }
        #expect(unsafe rmdir(directory) == 0)
    }
    try body(directory)
}
