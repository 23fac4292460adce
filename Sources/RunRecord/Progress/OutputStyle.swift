/// How text may look where it goes.
package struct OutputStyle: Equatable, Sendable {
    /// Whether a line can be redrawn in place.
    package var isTerminal: Bool
    package var hasColour: Bool
    /// Columns of the terminal.
    package var width: Int

    /// - Parameters:
    ///   - isTerminal: what `isatty` says of the handle.
    ///   - environment: `NO_COLOR` (no-color.org: any non-empty value) and `TERM=dumb` are
    ///   honoured.
    ///   - width: columns, if known.
    package init(isTerminal: Bool, environment: [String: String], width: Int? = nil) {
        let isDumb = environment["TERM"] == "dumb"
        self.isTerminal = isTerminal && !isDumb
        hasColour = self.isTerminal && (environment["NO_COLOR"] ?? "").isEmpty
        self.width = max(20, width ?? environment["COLUMNS"].flatMap { Int($0) } ?? 100)
    }

    enum Tone: String {
        case plain = ""
        case good = "32"
        case attention = "33"
        case bad = "31"
    }

    func painted(_ text: String, _ tone: Tone) -> String {
        hasColour && tone != .plain ? "\u{1B}[\(tone.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Returns to the start of the line and clears it.
    static let clearLine = "\r\u{1B}[2K"
}
