import Foundation
import Testing
import Training

@Suite("safetensors files")
struct SafetensorsTests {
    @Test("what was written is read back, byte by byte, with awkward names and metadata")
    func roundTrip() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try writeSample(path)
            let file = try SafetensorsFile(path: path)
            #expect(
                file.entries.map(\.name) == ["a \"quoted\" \\ name\n", "empty", "int", "bytes"])
            #expect(file.metadata("digest") == "0123\u{1}\u{20AC}")
            #expect(file.metadata("absent") == nil)
            var values = [Float](repeating: 0, count: 6)
            var span = values.mutableSpan
            try file.read("a \"quoted\" \\ name\n", into: &span)
            #expect(values.map(\.bitPattern) == sampleFloats.map(\.bitPattern))
            #expect(try file.readIntegers("int") == [-1, .min, .max])
            #expect(try file.readBytes("bytes") == [1, 2, 255])
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).count == 1)
        }
    }

    @Test("a tensor that is missing or of another form is named")
    func unexpected() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try writeSample(path)
            let file = try SafetensorsFile(path: path)
            let missing = #expect(throws: SafetensorsError.self) { try file.readBytes("absent") }
            #expect(missing?.description.contains("\"absent\": missing") == true)
            let other = #expect(throws: SafetensorsError.self) { try file.readBytes("int") }
            #expect(other?.description.contains("is I64 [3], expected U8") == true)
        }
    }

    @Test("every cut of a file is refused as cut or malformed")
    func truncated() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try writeSample(path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            for length in 0..<whole.count {
                try whole.prefix(length).write(to: URL(fileURLWithPath: path))
                let error = #expect(throws: SafetensorsError.self) {
                    _ = try SafetensorsFile(path: path)
                }
                guard case .truncated = error else {
                    Issue.record("cut to \(length): \(String(describing: error))")
                    return
                }
            }
        }
    }

    @Test("every flipped header bit is refused or changes what is read, and never crashes")
    func flipped() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try writeSample(path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            let original = try contents(path)
            let headerEnd = 8 + Int(whole[0]) + Int(whole[1]) << 8
            for bit in 0..<(headerEnd * 8) {
                var damaged = whole
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                try damaged.write(to: URL(fileURLWithPath: path))
                if let read = try? contents(path), read == original {
                    // White space may become another kind of it, and the hexadecimal digit of
                    // an escape its capital: the meaning stays.
                    let harmless = [UInt8(ascii: " "), UInt8(ascii: "a")]
                    #expect(harmless.contains(whole[bit / 8]), "bit \(bit) went unnoticed")
                }
            }
        }
    }

    @Test(
        "rules of the header",
        arguments: [
            (#"[]"#, 0, "does not start with {"),
            (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, 4, "\"}\" expected"),
            (entry("a", "F32", "1", "0,4") + "," + entry("a", "F32", "1", "4,8"), 8, "twice"),
            (
                entry("a", "F32", "1", "0,4") + "," + entry("b", "F32", "1", "8,12"), 12,
                "expected 4"
            ),
            (entry("a", "F32", "1", "0,4") + "," + entry("b", "F32", "1", "2,6"), 6, "expected 4"),
            (entry("a", "F32", "1", "4,8"), 8, "expected 0"),
            (entry("a", "F32", "2", "0,4"), 4, "does not fit"),
            (
                entry("a", "F32", "4611686018427387904,4611686018427387904", "0,4"), 4,
                "does not fit"
            ),
            (entry("a", "F32", "1", "0,4"), 5, "1 bytes follow"),
            (entry("a", "F16", "2", "0,4"), 4, "unsupported type"),
            (entry("a", "F32", "-1", "0,4"), 4, "integer expected"),
            (entry("a", "F32", "99999999999999999999", "0,4"), 4, "integer expected"),
            (entry("a", "F32", "1", "0,4") + "} {", 4, "after the header's end"),
            (#""a":{"dtype":"F32","shape":[1]}"#, 4, "lacks dtype"),
            (#""__metadata__":{"k":1}"#, 0, "expected"),
        ])
    func headerRules(header: String, dataBytes: Int, reason: String) throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            let json = header.hasPrefix("\"") ? "{\(header)}" : header
            var data = Data((0..<8).map { UInt8(truncatingIfNeeded: json.utf8.count >> (8 * $0)) })
            data += Data(json.utf8) + Data(count: dataBytes)
            try data.write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: SafetensorsError.self) {
                _ = try SafetensorsFile(path: path)
            }
            #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
        }
    }

    @Test("a header length beyond the limit is refused before anything is allocated")
    func headerLimit() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try Data([1, 225, 245, 5, 0, 0, 0, 0, 123]).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: SafetensorsError.self) {
                _ = try SafetensorsFile(path: path)
            }
            #expect(error?.description.contains("100000001") == true)
        }
    }

    @Test("a failed write names path, bytes and reason, and keeps the previous file")
    func failedWrite() throws {
        try withTemporaryDirectory { directory in
            let path = directory + "/file.safetensors"
            try writeSample(path)
            let before = try Data(contentsOf: URL(fileURLWithPath: path))
            #expect(throws: SafetensorsError.self) {
                try SafetensorsWriter.write(
                    path: path, entries: [SafetensorsEntry(name: "x", type: .uint8, shape: [1])]
                ) { _ throws(SafetensorsError) in
                    // As the writer itself reports a full disk.
                    throw .writeFailed(path: path, action: "writing", bytesNeeded: 9, code: ENOSPC)
                }
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).count == 1)
            let error = #expect(throws: SafetensorsError.self) {
                try writeSample(directory + "/absent/file")
            }
            let text = error?.description ?? ""
            #expect(text.contains("/absent/file") && text.contains("No such file"), "\(text)")
            #expect(text.contains("bytes are needed"))
        }
    }

    private let sampleFloats: [Float] = [0, -0.0, 1.5, .infinity, .leastNonzeroMagnitude, -7e30]

    private func writeSample(_ path: String) throws(SafetensorsError) {
        try SafetensorsWriter.write(
            path: path,
            entries: [
                SafetensorsEntry(name: "a \"quoted\" \\ name\n", type: .float32, shape: [2, 3]),
                SafetensorsEntry(name: "empty", type: .float32, shape: [0, 5]),
                SafetensorsEntry(name: "int", type: .int64, shape: [3]),
                SafetensorsEntry(name: "bytes", type: .uint8, shape: [3]),
            ],
            metadata: [("digest", "0123\u{1}\u{20AC}"), ("step", "12")]
        ) { writer throws(SafetensorsError) in
            try writer.write(floats: sampleFloats.span)
            try writer.write(integers: [-1, .min, .max])
            try writer.write(bytes: ([1, 2, 255] as [UInt8]).span)
        }
    }

    /// Everything a reader sees, as text.
    private func contents(_ path: String) throws -> String {
        let file = try SafetensorsFile(path: path)
        return "\(file.entries) \(file.metadata)"
    }
}

private func entry(_ name: String, _ type: String, _ shape: String, _ offsets: String) -> String {
    #""\#(name)":{"dtype":"\#(type)","shape":[\#(shape)],"data_offsets":[\#(offsets)]}"#
}
