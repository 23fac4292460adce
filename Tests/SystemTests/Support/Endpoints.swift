import Foundation

/// What the kernel says of a process's sockets.
enum Endpoints {
    /// TCP ports a process listens on. The kernel gives its table out in pieces and skips entries when others
    /// open and close sockets meanwhile, so it is read until two readings agree.
    static func listening(_ pid: Int32) throws -> [UInt16] {
        var last: [UInt16] = []
        for _ in 0..<20 {
            let ports = try reading(pid)
            if !ports.isEmpty, ports == last { return ports }
            last = ports
        }
        return last
    }

    private static func reading(_ pid: Int32) throws -> [UInt16] {
        let own = try socketInodes(pid)
        let table = try String(contentsOfFile: "/proc/\(pid)/net/tcp", encoding: .utf8)
        return table.split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            // 0A: LISTEN. Field 1 is address:port in hexadecimal, field 9 the inode.
            guard fields.count > 9, fields[3] == "0A", own.contains(String(fields[9])),
                let port = fields[1].split(separator: ":").last
            else { return nil }
            return UInt16(port, radix: 16)
        }
    }

    private static func socketInodes(_ pid: Int32) throws -> Set<String> {
        let folder = "/proc/\(pid)/fd"
        var inodes: Set<String> = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "\(folder)/\(name)")
            guard let target, target.hasPrefix("socket:[") else { continue }
            inodes.insert(String(target.dropFirst("socket:[".count).dropLast()))
        }
        return inodes
    }
}

/// The first 64 bytes of ZMTP 3 (rfc.zeromq.org/spec/23): signature, version, mechanism, role.
enum ZMTPGreeting {
    static let plain: [UInt8] =
        [0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 0] + Array("NULL".utf8)
        + [UInt8](repeating: 0, count: 16 + 1 + 31)

    /// The mechanism a server names after it was greeted, and whether it then hangs up.
    static func probe(port: UInt16) throws -> (mechanism: String, hangsUp: Bool) {
        let connection = try TCPConnection(port: port)
        // Signature and version first: a server that hears the mechanism too hangs up at once, and
        // the reset may overtake its own greeting.
        connection.send(Array(plain[..<12]))
        let answer = connection.receive(exactly: 64)
        connection.send(Array(plain[12...]))
        guard answer.count == 64 else { return ("", true) }
        let mechanism = answer[12..<32].prefix { $0 != 0 }
        return (
            String(decoding: mechanism, as: UTF8.self), connection.receive(atMost: 1).isEmpty
        )
    }
}
