import ClusterModel
import Foundation
import ZeroMQ

/// What one new worker needs to know: where the coordinator is, its key, and a secret that
/// admits the worker's own key. Written `lh1_` and base64url, so that it survives mail and shells.
struct JoinToken: Codable, Equatable {
    var endpoint: String
    var serverKey: CurvePublicKey
    /// Z85 of the enrolment key's secret.
    var secret: String

    private static let prefix = "lh1_"

    var text: String {
        guard let data = try? JSONEncoder().encode(self) else {
            preconditionFailure("a join token is always encodable")
        }
        let base64 = data.base64EncodedString()
            .replacingOccurrences(of: "+", with: "-")
            .replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
        return Self.prefix + base64
    }

    init(endpoint: String, serverKey: CurvePublicKey, secret: String) {
        self.endpoint = endpoint
        self.serverKey = serverKey
        self.secret = secret
    }

    init(text: String) throws {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        let hint = "copy the whole line that longhaul-coordinator printed"
        guard trimmed.hasPrefix(Self.prefix) else {
            throw Failure(
                .configuration, "not a join token: it does not start with \(Self.prefix)",
                hint: hint)
        }
        var base64 = trimmed.dropFirst(Self.prefix.count)
            .replacingOccurrences(of: "-", with: "+")
            .replacingOccurrences(of: "_", with: "/")
        while base64.count % 4 != 0 { base64 += "=" }
        guard let data = Data(base64Encoded: base64),
            let token = try? JSONDecoder().decode(JoinToken.self, from: data)
        else {
            throw Failure(
                .configuration, "the join token is damaged (\(trimmed.count) characters)",
                hint: hint)
        }
        self = token
    }

    /// From a file, or from standard input for `-`. Tokens are secrets: not in flags, where `ps` shows
    /// them.
    init(file: String) throws {
        if file == "-" {
            guard let line = readLine() else {
                throw Failure(.usage, "no join token on standard input")
            }
            try self.init(text: line)
            return
        }
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw Failure(
                .configuration, "cannot read the join token file '\(file)'",
                hint: "write the coordinator's token line into it")
        }
        try self.init(text: text)
    }
}
