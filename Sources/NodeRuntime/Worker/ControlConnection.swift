import ClusterModel
import WireProtocol
import ZeroMQ

/// A worker's connection to the coordinator: frames out, frames in, and whether it stands.
final class ControlConnection {
    enum Input {
        case frame(FrameHeader, WireProtocol.Message)
        case down
        /// The security handshake failed; the text says which side to look at.
        case refused(String)
        case malformed(String)
    }

    let socket: Socket
    let monitor: SocketMonitor
    var run = RunID(rawValue: 0)
    private let incarnation: Incarnation
    private var sequence: UInt64 = 0

    init(_ context: Context, _ options: WorkerOptions, incarnation: Incarnation) throws {
        self.incarnation = incarnation
        var settings = SocketOptions(
            security: .curveClient(options.keys, server: options.coordinatorKey))
        settings.sendHighWaterMark = NodeLimits.controlHighWaterMark
        settings.maxMessageSize = Int64(ProtocolLimits.controlFrameBytes)
        settings.immediate = false
        // Thread 0 is control's alone: data never delays it.
        settings.ioThreadAffinity = 1
        settings.socksProxy = options.controlProxy
        socket = try Socket(context, kind: .dealer, options: settings)
        monitor = try SocketMonitor(socket)
        try socket.connect(options.coordinator)
    }

    func send(_ message: WireProtocol.Message, epoch: Epoch, rank: Rank, payload: [UInt8] = [])
        throws
    {
        sequence += 1
        let header = FrameHeader(
            run: run, incarnation: incarnation, epoch: epoch, rank: rank, sequence: sequence)
        let bytes = try FrameEncoder.encode(
            header: header, message: message, payload: payload.span)
        var frame = try ZeroMQ.Message(copying: bytes)
        // A full queue means a long outage; what is dropped then is repeated by its machine.
        _ = try socket.send(&frame)
    }

    /// The next input, or nil if there was none when both sockets were last waited for.
    func next() throws -> Input? {
        if monitor.socket.mayHaveMessages, let event = try monitor.next() {
            switch event.kind {
            case .disconnected: return .down
            case .handshakeFailedAuthentication:
                return .refused("the coordinator does not know this worker's key")
            case .handshakeFailedWithoutDetail, .handshakeFailedProtocol:
                return .refused(
                    "the coordinator's key is not the expected one, or it is no Longhaul coordinator"
                )
            case .connected, .connectDelayed, .connectRetried, .listening, .bindFailed, .accepted,
                .acceptFailed, .closed, .closeFailed, .monitorStopped, .handshakeSucceeded,
                .unknown:
                return try next()
            }
        }
        guard socket.mayHaveMessages, let message = try socket.receive() else { return nil }
        do {
            let frame = try message.withBytes { bytes throws(FrameError) in
                try FrameDecoder.decode(bytes, limits: .control)
            }
            return .frame(frame.header, frame.message)
        } catch {
            return .malformed("\(error)")
        }
    }

    func close() {
        monitor.close()
        socket.close()
    }
}
