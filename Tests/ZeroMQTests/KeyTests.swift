import Glibc
import Testing
import ZeroMQ

@Suite("Keys and key files")
struct KeyTests {
    @Test("a pair survives its secret's file, which only the owner may read")
    func secretFile() throws {
        try withTemporaryDirectory(leaving: ["worker.secret"]) { directory in
            let path = "\(directory)/worker.secret"
            let keys = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(keys, to: path)
            var status = stat()
            try #require(unsafe stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            #expect(try CurveKeyFile.readSecret(path).publicKey == keys.publicKey)

            for mode in [mode_t(0o640), 0o604, 0o660] {
                try #require(unsafe chmod(path, mode) == 0)
                let error = #expect(throws: ZeroMQError.self) {
                    _ = try CurveKeyFile.readSecret(path)
                }
                #expect(error?.kind == .exposedKey)
                #expect(error?.hint.contains("chmod 600 '\(path)'") == true)
            }
        }
    }

    @Test("an existing secret is not overwritten unless asked, and no temporary file stays")
    func noOverwrite() throws {
        try withTemporaryDirectory(leaving: ["worker.secret"]) { directory in
            let path = "\(directory)/worker.secret"
            let first = try CurveKeyPair.generate()
            let second = try CurveKeyPair.generate()
            try CurveKeyFile.writeSecret(first, to: path)
            #expect(throws: ZeroMQError.self) { try CurveKeyFile.writeSecret(second, to: path) }
            #expect(try CurveKeyFile.readSecret(path).publicKey == first.publicKey)
            try CurveKeyFile.writeSecret(second, to: path, replacing: true)
            #expect(try CurveKeyFile.readSecret(path).publicKey == second.publicKey)
        }
    }

    @Test("a public key survives its text and its file")
    func publicFile() throws {
        try withTemporaryDirectory(leaving: ["worker.public"]) { directory in
            let path = "\(directory)/worker.public"
            let key = try CurveKeyPair.generate().publicKey
            #expect(try CurvePublicKey(z85: key.z85) == key)
            #expect(CurvePublicKey(key.bytes.span) == key)
            #expect(CurvePublicKey(Array(key.bytes.dropLast()).span) == nil)
            try CurveKeyFile.writePublic(key, to: path)
            #expect(try CurveKeyFile.readPublic(path) == key)
        }
    }

    @Test(
        "texts which are no keys are refused",
        arguments: [
            "", "short", String(repeating: "0", count: 41), String(repeating: "~", count: 40),
            String(repeating: "\"", count: 40), String(repeating: "é", count: 20),
        ])
    func badText(_ text: String) {
        let error = #expect(throws: ZeroMQError.self) { _ = try CurvePublicKey(z85: text) }
        #expect(error?.kind == .badKey)
        #expect(throws: ZeroMQError.self) { _ = try CurveKeyPair(secretZ85: text) }
    }

    @Test("a known secret gives its known public key, and never prints itself")
    func derivation() throws {
        // The server test pair which libzmq's own documentation of CURVE uses.
        let keys = try CurveKeyPair(secretZ85: "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")
        #expect(keys.publicKey.z85 == "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
        #expect("\(keys.secretKey)" == "(secret key)")
    }
}
