import Foundation
import Testing

/// A coordinator started by hand, as on a machine of its own, and the token it prints.
struct HandStarted {
    let coordinator: Program
    let tokenFile: String
    let directory: String
    let endpoint: String
    let port: UInt16

    init(_ scratch: Scratch, _ file: String, _ more: [String] = []) async throws {
        directory = scratch.path("coordinator")
        let program = try Program(
            "longhaul-coordinator", [file, "--dir", directory, "--json"] + more, in: scratch)
        coordinator = program
        try await program.waitUntil("join token") {
            program.output.contains("each worker:") || !program.isRunning
        }
        let line = try #require(
            program.output.split(separator: "\n").first { $0.hasPrefix("lh1_") },
            "\(program.errors)")
        tokenFile = scratch.path("join.token")
        try "\(line)\n".write(toFile: tokenFile, atomically: true, encoding: .utf8)
        endpoint = try #require(try JoinTokenText.read(String(line))["endpoint"] as? String)
        port = try #require(endpoint.split(separator: ":").last.flatMap { UInt16($0) })
    }

    func worker(
        _ scratch: Scratch, _ directory: String, _ more: [String] = [], token: String? = nil
    ) throws -> Program {
        try Program(
            "longhaul-worker",
            ["--token-file", token ?? tokenFile, "--dir", scratch.path(directory), "--json"]
                + more, in: scratch)
    }
}

/// A token's parts, as a test that forges one needs them.
enum JoinTokenText {
    static func read(_ token: String) throws -> [String: Any] {
        var text = token.dropFirst("lh1_".count).replacingOccurrences(of: "-", with: "+")
            .replacingOccurrences(of: "_", with: "/")
        while text.count % 4 != 0 { text += "=" }
        let data = try #require(Data(base64Encoded: text))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    static func write(_ parts: [String: Any]) throws -> String {
        let data = try JSONSerialization.data(withJSONObject: parts)
        return "lh1_"
            + data.base64EncodedString().replacingOccurrences(of: "+", with: "-")
            .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
    }
}
