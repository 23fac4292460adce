import Foundation
import NodeRuntime
import Testing

@Suite("Unix sockets on one machine") struct SameHostTests {
    @Test("what a killed process leaves is removed, and nothing of others")
    func leftBehind() throws {
        // Numbers beyond those of processes; one begins as the other.
        let (own, other) = ("/tmp/longhaul-99999999-1", "/tmp/longhaul-999999991-1")
        for path in [own, other] {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
            try "x".write(toFile: path + "/memory", atomically: true, encoding: .utf8)
        }
        SameHost.removeDirectories(of: 99_999_999)
        #expect(!FileManager.default.fileExists(atPath: own))
        #expect(FileManager.default.fileExists(atPath: other))
        SameHost.removeDirectories(of: 999_999_991)
        #expect(!FileManager.default.fileExists(atPath: other))
    }

    @Test("the path is dialled on the same boot of the same machine, when allowed and there")
    func choice() throws {
        let directory = try SameHost.makeDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let attributes = try FileManager.default.attributesOfItem(atPath: directory)
        #expect(attributes[.posixPermissions] as? Int == 0o700)
        let path = "\(directory)/lanes"
        let tcp = "tcp://10.0.0.1:7000"
        let both = SameHost.endpoint(tcp, path: path)
        #expect(both.utf8.count <= 255)
        #expect(SameHost.choose(both, isAllowed: true) == tcp)
        #expect(FileManager.default.createFile(atPath: path, contents: nil))
        #expect(SameHost.choose(both, isAllowed: true) == "ipc://\(path)")
        #expect(SameHost.choose(both, isAllowed: false) == tcp)
        #expect(SameHost.choose(tcp, isAllowed: true) == tcp)
        #expect(SameHost.choose("\(tcp) ipc://\(path)#another-boot", isAllowed: true) == tcp)
        #expect(SameHost.choose("\(tcp) \(path)", isAllowed: true) == tcp)
    }
}
