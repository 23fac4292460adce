import Foundation
import Synchronization

/// Forwards TCP connections to a port and keeps a copy of all bytes, as a capture on the path would.
final class Wiretap: Sendable {
    private let listener: TCPListener
    private let target: UInt16
    private let captured = Mutex<[UInt8]>([])
    private let connections = Mutex<[TCPConnection]>([])

    var port: UInt16 { listener.port }
    var bytes: [UInt8] { captured.withLock { $0 } }

    init(to target: UInt16) throws {
        self.target = target
        listener = try TCPListener()
        Thread.detachNewThread { [self] in
            while let client = listener.accept() {
                guard let server = try? TCPConnection(port: target) else { continue }
                connections.withLock { $0 += [client, server] }
                pump(client, server)
                pump(server, client)
            }
        }
    }

    private func pump(_ source: TCPConnection, _ sink: TCPConnection) {
        Thread.detachNewThread { [self] in
            while true {
                let bytes = source.receive()
                if bytes.isEmpty { break }
                captured.withLock { $0 += bytes }
                if !sink.send(bytes) { break }
            }
            source.shutDown()
            sink.shutDown()
        }
    }

    func stop() {
        listener.shutDown()
        for connection in connections.withLock({ $0 }) { connection.shutDown() }
    }

    func contains(_ text: String) -> Bool {
        Data(bytes).range(of: Data(text.utf8)) != nil
    }
}
