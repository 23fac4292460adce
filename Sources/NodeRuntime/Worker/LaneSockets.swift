import ClusterModel
import Coordination
import Foundation
import WireProtocol
import ZeroMQ

/// A worker's data sockets: one ROUTER that peers dial, one DEALER for each lane it dials.
final class LaneSockets {
    enum Input {
        case frame(LaneID, FrameHeader, WireProtocol.Message, HeldMessage, payload: Range<Int>)
        case connected(LaneID)
        case disconnected(LaneID)
        case violation(String)
    }

    /// One dialled lane.
    private final class Dialled {
        let lane: LaneID
        let member: PlanMember
        let socket: Socket
        let monitor: SocketMonitor
        /// While it leads to another machine.
        var connection: FarConnection?
        init(
            _ lane: LaneID, _ member: PlanMember, _ socket: Socket, _ monitor: SocketMonitor
        ) {
            self.lane = lane
            self.member = member
            self.socket = socket
            self.monitor = monitor
        }
    }

    let router: Socket
    /// As others dial it; two parts where same-host workers may use a Unix socket.
    let endpoint: String
    /// Of that socket.
    private let directory: String?
    /// Frames that need not travel; nil: all do.
    private let sharedFrames: SharedFrames?
    /// What is to be said of the start.
    private var notes: [String] = []
    private let context: Context
    private let authenticator: ZapAuthenticator
    private let options: WorkerOptions
    private let topology: Topology
    private let ownRegion: RegionID
    private var dialled: [LaneID: Dialled] = [:]
    /// The same in the order of their names.
    private var dialledInOrder: [Dialled] = []
    private var accepted: [LaneID: RoutingID] = [:]
    private var owners: [RoutingID: LaneID] = [:]
    private var redials: [(due: Int64, lane: LaneID, member: PlanMember)] = []
    /// Of what this region sends to that of a peer in a round, what goes to the peer from here; nil: nothing.
    private var shares: [WorkerID: Double] = [:]

    init(
        _ context: Context, _ options: WorkerOptions, topology: Topology, region: RegionID
    ) throws {
        self.context = context
        self.options = options
        self.topology = topology
        ownRegion = region
        authenticator = try ZapAuthenticator(context, domain: NodeLimits.zapDomain)
        let settings = Self.settings(
            options.isPlain
                ? .plaintext : .curveServer(options.keys, domain: NodeLimits.zapDomain))
        if !options.isPlain {
            try StartUpSelfTest.run(
                context, authenticator: authenticator, serverOptions: settings)
        }
        router = try Socket(context, kind: .router, options: settings)
        guard !options.dialsOut else {
            directory = nil
            sharedFrames = nil
            endpoint = ""
            return
        }
        let bound = try router.bind(options.listen)
        let advertised = Self.advertised(bound, host: options.advertiseHost)
        guard Self.usesUnixSockets(topology) else {
            directory = nil
            sharedFrames = nil
            endpoint = advertised
            return
        }
        let directory = try SameHost.makeDirectory()
        self.directory = directory
        _ = try router.bind("ipc://\(directory)/lanes")
        endpoint = SameHost.endpoint(advertised, path: "\(directory)/lanes")
        do {
            sharedFrames =
                topology.sameHost == .memory
                ? try SharedFrames(options.pool, directory: directory) : nil
        } catch {
            sharedFrames = nil
            notes = ["frames go through sockets: \(error)"]
        }
    }

    private static func usesUnixSockets(_ topology: Topology) -> Bool {
        switch topology.sameHost {
        case .ipc, .memory: true
        case .tcp, nil: false
        }
    }

    private static func settings(_ security: SocketSecurity) -> SocketOptions {
        var settings = SocketOptions(security: security)
        settings.sendHighWaterMark = NodeLimits.laneHighWaterMark
        settings.receiveHighWaterMark = NodeLimits.laneHighWaterMark
        settings.maxMessageSize = Int64(ProtocolLimits.dataFrameBytes)
        settings.immediate = false
        // Every thread but control's.
        settings.ioThreadAffinity = 2
        return settings
    }

    private static func advertised(_ bound: String, host: String?) -> String {
        guard let host, let port = bound.split(separator: ":").last else { return bound }
        return "tcp://\(host):\(port)"
    }

    /// - Parameter shares: ``ActivePlan/laneShares``.
    /// - Returns: what does not go as the cluster file would have it.
    @discardableResult
    func allow(
        _ members: [PlanMember], shares: [WorkerID: Double] = [:]
    ) throws -> [String] {
        var names: [CurvePublicKey: String] = [:]
        for member in members {
            if let key = CurvePublicKey(member.dataKey.bytes.span) { names[key] = member.name }
        }
        try authenticator.replaceAllowed(names)
        let notes =
            self.notes
            + (sharedFrames?.allow(
                members.filter { $0.region == ownRegion && $0.name != options.name }) ?? [])
        self.notes = []
        guard shares != self.shares else { return notes }
        self.shares = shares
        for entry in dialledInOrder { pace(entry) }
        return notes
    }

    func sharesMemory(with peer: WorkerID) -> Bool { sharedFrames?.reaches(peer) == true }

    /// Whether that is what two workers are about to do.
    func willShareMemory(with peer: WorkerID) -> Bool { sharedFrames?.knows(peer) == true }

    /// Where a round sends nothing, and where nobody has stated a rate, congestion control alone decides.
    private func pace(_ entry: Dialled) {
        guard let connection = entry.connection else { return }
        let lanes = dialledInOrder.count { $0.lane.peer == entry.lane.peer }
        connection.pace(
            bytesPerSecond: shares[entry.lane.peer].flatMap {
                LanePace.bytesPerSecond(
                    over: topology, from: ownRegion, to: entry.member.region, share: $0,
                    lanes: lanes)
            })
    }

    private func connected(_ entry: Dialled, _ descriptor: Int32) {
        guard let ends = ConnectionEnds(of: descriptor) else { return }
        guard !ends.isLocal else { return LocalConnection.unpace(descriptor) }
        entry.connection = FarConnection(descriptor, ends)
        pace(entry)
    }

    /// - Returns: the address that was dialled.
    @discardableResult
    func dial(_ member: PlanMember, lane index: UInt16) throws -> String {
        guard let key = CurvePublicKey(member.dataKey.bytes.span) else { return "" }
        var settings = Self.settings(
            options.isPlain ? .plaintext : .curveClient(options.keys, server: key))
        if member.region != ownRegion {
            settings.socksProxy = options.proxies[topology.regions[member.region.index].name]
        }
        let socket = try Socket(context, kind: .dealer, options: settings)
        let monitor = try SocketMonitor(socket)
        // With memory to share, too: what is left to send is short.
        let address = SameHost.choose(
            member.endpoint, isAllowed: Self.usesUnixSockets(topology) && member.region == ownRegion
        )
        try socket.connect(address)
        let lane = LaneID(peer: member.workerID, role: .dialler, index: index)
        dialled[lane] = Dialled(lane, member, socket, monitor)
        sortDialled()
        // One lane more to this peer: less for each of the others.
        for entry in dialledInOrder where entry.lane.peer == member.workerID { pace(entry) }
        return address
    }

    private func sortDialled() {
        dialledInOrder = dialled.values.sorted { $0.lane < $1.lane }
        generation += 1
    }

    func hangUp(_ lane: LaneID) {
        sharedFrames?.recall(lane)
        close(lane)
    }

    /// A reference that is still under way may arrive all the same.
    private func close(_ lane: LaneID) {
        switch lane.role {
        case .dialler:
            redials.removeAll { $0.lane == lane }
            guard let entry = dialled.removeValue(forKey: lane) else { return }
            entry.monitor.close()
            entry.socket.close()
            sortDialled()
        case .acceptor:
            if let route = accepted.removeValue(forKey: lane) { owners[route] = nil }
        }
    }

    /// Grows when the set of sockets changes: the poller must be built anew.
    private(set) var generation = 0

    func enrol(in poller: inout Poller, from first: UInt64) throws {
        var token = first
        try poller.add(router, token: token, for: .readable)
        for entry in dialledInOrder {
            try poller.add(entry.socket, token: token + 1, for: .readable)
            try poller.add(entry.monitor.socket, token: token + 2, for: .readable)
            token += 2
        }
    }

    /// False if the frame could not be handed to the transport: the lane is down.
    func send(_ lane: LaneID, _ frame: OutgoingFrame) throws -> Bool {
        switch frame {
        case .plain(let bytes):
            var message = try ZeroMQ.Message(copying: bytes)
            return try send(lane, &message)
        case .sealed(let sealed):
            var message =
                switch (sealed.medium, sharedFrames) {
                case (.memory, let shared?): try shared.reference(to: sealed, on: lane)
                case (.memory, nil), (.wire, _): try sealed.message()
                }
            return try send(lane, &message)
        }
    }

    func send(_ lane: LaneID, _ frame: inout ZeroMQ.Message) throws -> Bool {
        switch lane.role {
        case .dialler:
            guard let entry = dialled[lane] else { return false }
            return try entry.socket.send(&frame) == .sent
        case .acceptor:
            guard let route = accepted[lane] else { return false }
            return try router.send(to: route, &frame) == .sent
        }
    }

    /// Closes a dialled lane whose queue is full and dials it anew: what was in the queue is sent again
    /// once the peer has said what it holds.
    func redial(_ lane: LaneID) throws {
        guard let member = dialled[lane]?.member else { return }
        close(lane)
        try dial(member, lane: lane.index)
    }

    /// Takes what has arrived, at most a burst from each socket; for after a wait for all of them.
    func poll(now: Int64, _ deliver: (Input) throws -> Void) throws {
        try redialDue(now)
        for _ in 0..<NodeLimits.burst where router.mayHaveMessages {
            guard let routed = try router.receiveRouted() else { break }
            let sender = routed.sender
            try accept(sender, routed.holdBody(), deliver)
        }
        for entry in dialledInOrder where entry.socket.isOpen {
            try watch(entry, now, deliver)
            for _ in 0..<NodeLimits.burst
            where entry.socket.isOpen && entry.socket.mayHaveMessages {
                guard let message = try entry.socket.receive() else { break }
                try decode(entry.lane, HeldMessage(message), deliver)
            }
        }
    }

    var nextRedial: Int64? { redials.map(\.due).min() }

    private func redialDue(_ now: Int64) throws {
        let due = redials.filter { $0.due <= now }
        redials.removeAll { $0.due <= now }
        for redial in due {
            close(redial.lane)
            try dial(redial.member, lane: redial.lane.index)
        }
    }

    private func watch(
        _ entry: Dialled, _ now: Int64, _ deliver: (Input) throws -> Void
    ) throws {
        let monitor = entry.monitor.socket
        while monitor.isOpen, monitor.mayHaveMessages, let event = try entry.monitor.next() {
            switch event.kind {
            case .handshakeSucceeded:
                try deliver(.connected(entry.lane))
            case .disconnected:
                entry.connection = nil
                try deliver(.disconnected(entry.lane))
            case .handshakeFailedAuthentication, .handshakeFailedProtocol,
                .handshakeFailedWithoutDetail:
                // libzmq does not try again after a refusal; the peer may simply not have the plan yet.
                redials.append(
                    (now + NodeLimits.redialDelay.nanoseconds, entry.lane, entry.member))
            case .connected(let descriptor): connected(entry, descriptor)
            case .closed: entry.connection = nil
            case .connectDelayed, .connectRetried, .listening, .bindFailed, .accepted,
                .acceptFailed, .closeFailed, .monitorStopped, .unknown:
                break
            }
        }
    }

    /// A frame on the ROUTER: its connection must have said LANE-HELLO under the name its key has.
    private func accept(
        _ route: RoutingID, _ message: HeldMessage, _ deliver: (Input) throws -> Void
    ) throws {
        guard
            let (message, frame) = try frame(message, from: owners[route]?.peer, deliver)
        else { return }
        if case .laneHello(let hello) = frame.message {
            let seats = topology.seats
            let index = Int(hello.workerID.rawValue)
            guard seats.indices.contains(index),
                options.isPlain || message.userID == seats[index].worker.name
            else {
                let said = message.userID ?? "?"
                try deliver(
                    .violation("'\(said)' says LANE-HELLO for seat \(hello.workerID.rawValue)"))
                return
            }
            guard frame.header.lane < ProtocolLimits.lanes else {
                try deliver(
                    .violation(
                        "'\(seats[index].worker.name)' says LANE-HELLO for lane "
                            + "\(frame.header.lane)"))
                return
            }
            let lane = LaneID(
                peer: hello.workerID, role: .acceptor, index: frame.header.lane)
            if let old = accepted[lane] { owners[old] = nil }
            accepted[lane] = route
            owners[route] = lane
        }
        guard let lane = owners[route] else { return }
        try deliver(
            .frame(lane, frame.header, frame.message, message, payload: frame.payload))
    }

    private func decode(
        _ lane: LaneID, _ message: HeldMessage, _ deliver: (Input) throws -> Void
    ) throws {
        guard let (message, frame) = try frame(message, from: lane.peer, deliver) else { return }
        try deliver(.frame(lane, frame.header, frame.message, message, payload: frame.payload))
    }

    /// The frame that a message is or refers to; nil: none, or it was taken back.
    private func frame(
        _ message: HeldMessage, from peer: WorkerID?, _ deliver: (Input) throws -> Void
    ) throws -> (HeldMessage, Frame)? {
        do {
            guard let sharedFrames,
                let reference = try message.withBytes({ bytes throws(FrameError) in
                    try FrameReference(bytes)
                })
            else { return (message, try Self.decode(message, .wire)) }
            // Before a greeting nothing is of a lane.
            guard let peer, let held = try sharedFrames.frame(reference, from: peer) else {
                return nil
            }
            return (held, try Self.decode(held, .memory))
        } catch {
            let name =
                message.userID ?? peer.map { topology.seats[Int($0.rawValue)].worker.name }
                ?? "a peer"
            try deliver(.violation("malformed frame from '\(name)': \(error)"))
            return nil
        }
    }

    private static func decode(
        _ message: HeldMessage, _ medium: FrameMedium
    ) throws(FrameError) -> Frame {
        try message.withBytes { bytes throws(FrameError) in
            try FrameDecoder.decode(bytes, limits: .data, medium: medium)
        }
    }

    func close() {
        for entry in dialledInOrder { hangUp(entry.lane) }
        router.close()
        authenticator.stop()
        removeSocketFile()
    }

    /// Also where sockets must stay open until the process ends.
    func removeSocketFile() {
        if let directory { try? FileManager.default.removeItem(atPath: directory) }
    }
}
