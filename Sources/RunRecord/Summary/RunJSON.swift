package import Foundation

/// `run.json`: the summary of one run for other programs.
package enum RunJSON {
    /// Sorted keys, indented, a newline at the end: two runs can be compared with `diff`.
    /// A simulation's summary comes with what it cost.
    package static func encode(_ summary: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try encoder.encode(summary) + Data("\n".utf8)
    }

    /// Reads what ``encode(_:)`` wrote.
    package static func decode(_ data: Data) throws -> RunSummary {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(RunSummary.self, from: data)
    }

    /// Writes the file whole or not at all.
    package static func write(_ summary: RunSummary, to path: String) throws {
        try encode(summary).write(to: URL(fileURLWithPath: path), options: .atomic)
    }
}
