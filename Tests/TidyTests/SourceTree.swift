import Foundation

/// One Swift file: its lines as written, and with comments and the insides of strings blanked.
struct SourceFile {
    /// From the repository's root.
    let path: String
    let lines: [Substring]
    let code: [Substring]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        code = Self.blanked(text).split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// "Sources/<module>/..." gives the module.
    var module: String {
        path.split(separator: "/").dropFirst().first.map(String.init) ?? ""
    }

    /// Line numbers and texts where `pattern` is found.
    func matches(_ pattern: String, in lines: [Substring]) throws -> [(line: Int, text: String)] {
        let regex = try Regex(pattern)
        return lines.enumerated().compactMap { index, line in
            line.contains(regex)
                ? (index + 1, line.trimmingCharacters(in: .whitespaces)) : nil
        }
    }

    /// The text with everything blanked that is not code, lines kept.
    static func blanked(_ text: String) -> String {
        var scanner = Blanker(text)
        return scanner.run()
    }
}

/// Knows comments (nested), strings (one line, several lines, raw) and interpolations.
private struct Blanker {
    private let text: [UInt8]
    private var out: [UInt8] = []
    private var at = 0

    init(_ text: String) { self.text = Array(text.utf8) }

    mutating func run() -> String {
        while at < text.count { code() }
        return String(decoding: out, as: UTF8.self)
    }

    private func starts(_ token: String) -> Bool {
        text[at...].starts(with: token.utf8)
    }

    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where at < text.count {
            out.append(text[at] == UInt8(ascii: "\n") ? text[at] : UInt8(ascii: " "))
            at += 1
        }
    }

    private mutating func code() {
        if starts("//") {
            while at < text.count, text[at] != UInt8(ascii: "\n") { blank() }
        } else if starts("/*") {
            comment()
        } else if starts("#\"") {
            blank(2)
            while at < text.count, !starts("\"#") { blank() }
            blank(2)
        } else if starts("\"\"\"") {
            string(end: "\"\"\"")
        } else if starts("\"") {
            string(end: "\"")
        } else {
            out.append(text[at])
            at += 1
        }
    }

    private mutating func comment() {
        var depth = 0
        repeat {
            if starts("/*") {
                depth += 1
                blank(2)
            } else if starts("*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && at < text.count
    }

    private mutating func string(end: String) {
        blank(end.utf8.count)
        while at < text.count, !starts(end) {
            if starts("\\(") {
                blank(2)
                interpolation()
            } else if starts("\\") {
                blank(2)
            } else {
                blank()
            }
        }
        blank(end.utf8.count)
    }

    private mutating func interpolation() {
        var depth = 1
        while at < text.count, depth > 0 {
            if starts("\"\"\"") {
                string(end: "\"\"\"")
            } else if starts("\"") {
                string(end: "\"")
            } else {
                if starts("(") { depth += 1 }
                if starts(")") { depth -= 1 }
                blank()
            }
        }
    }
}

/// The repository this test was built from.
enum SourceTree {
    static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// All Swift files below `folder`, in path order.
    static func swiftFiles(in folder: String) throws -> [SourceFile] {
        let base = root.appending(path: folder)
        guard let paths = FileManager.default.enumerator(atPath: base.path)?.allObjects as? [String]
        else { return [] }
        return try paths.filter { $0.hasSuffix(".swift") }.sorted().map { path in
            SourceFile(
                path: "\(folder)/\(path)",
                text: try String(contentsOf: base.appending(path: path), encoding: .utf8))
        }
    }

    /// Paths under version control; nil outside a git checkout.
    static func trackedPaths() throws -> [String]? {
        guard FileManager.default.fileExists(atPath: root.appending(path: ".git").path) else {
            return nil
        }
        let git = Process()
        git.executableURL = URL(filePath: "/usr/bin/env")
        // A CI user need not own the checkout.
        git.arguments = ["git", "-c", "safe.directory=*", "-C", root.path, "ls-files"]
        let output = Pipe()
        git.standardOutput = output
        try git.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        git.waitUntilExit()
        guard git.terminationStatus == 0 else { return nil }
        return String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}
