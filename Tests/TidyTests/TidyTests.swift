import Foundation
import Testing

/// The mechanical rules of the house; `Rules` is the table, this applies it.
@Suite struct TidyTests {
    private static let sources = Result { try SourceTree.swiftFiles(in: "Sources") }
    private static let tests = Result { try SourceTree.swiftFiles(in: "Tests") }

    private func sources(of modules: [String]) throws -> [SourceFile] {
        try Self.sources.get().filter { modules.contains($0.module) }
    }

    private func everything() throws -> [SourceFile] {
        try Self.sources.get() + Self.tests.get()
    }

    /// One line per finding, so that a failure can be clicked through.
    private func expectNone(_ findings: [String], _ rule: Comment) {
        #expect(findings.isEmpty, "\(rule):\n\(findings.joined(separator: "\n"))")
    }

    @Test func theTreeIsFound() throws {
        #expect(try Self.sources.get().count > 50)
        #expect(try Self.tests.get().contains { $0.path.hasSuffix("/TidyTests.swift") })
    }

    @Test func modulesImportWhatTheTablePermits() throws {
        let pattern = try Regex<(Substring, Substring)>(
            #"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:\w+\s+)?import\s+"#
                + #"(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?([A-Za-z_]\w*)"#)
        var findings: [String] = []
        for file in try Self.sources.get() {
            guard let rule = Rules.imports.first(where: { $0.module == file.module }) else {
                findings.append("\(file.path): module \(file.module) is not in the table")
                continue
            }
            for (index, line) in file.code.enumerated() {
                guard let name = line.firstMatch(of: pattern)?.1 else { continue }
                if !rule.permitted.contains(String(name)) {
                    findings.append("\(file.path):\(index + 1): \(file.module) imports \(name)")
                }
            }
        }
        expectNone(findings, "imports outside the table of docs/architecture.md")
    }

    @Test func driversNeverImportEachOther() throws {
        let table = Dictionary(
            uniqueKeysWithValues: Rules.imports.map { ($0.module, $0.permitted) })
        #expect(table["Simulation"]?.contains("NodeRuntime") == false)
        #expect(table["Simulation"]?.contains("ZeroMQ") == false)
        #expect(table["NodeRuntime"]?.contains("Simulation") == false)
        for module in ["Foundation", "Glibc", "ZeroMQ", "NodeRuntime", "CLinux"] {
            #expect(table["Coordination"]?.contains(module) == false)
        }
    }

    @Test func machinesReadNoClockGeneratorOrScheduler() throws {
        var findings: [String] = []
        for file in try sources(of: Rules.deterministic) {
            for rule in Rules.bannedInDeterministic {
                for match in try file.matches(rule.pattern, in: file.code) {
                    findings.append("\(file.path):\(match.line): \(match.text) (\(rule.reason))")
                }
            }
        }
        expectNone(findings, "not deterministic")
    }

    /// As far as names tell: a property declared as a dictionary or a set must not be walked through
    /// except over its sorted keys.
    @Test func machinesDoNotIterateOverHashOrder() throws {
        let declaration = #/\b(?:var|let)\s+(\w+)\s*:\s*(?:Set<|\[[^\[\]()]+:\s*)/#
        var findings: [String] = []
        for module in Rules.deterministic {
            let files = try sources(of: [module])
            // Members of a file's types are seen by extensions elsewhere, deeper ones in the file.
            let members = files.flatMap { declared(in: $0.code, declaration, depth: 4) }
            for file in files {
                let names = Set(members + declared(in: file.code, declaration, depth: .max))
                for name in names.sorted() {
                    let walks =
                        #"\bin\s+(self\.)?\#(name)\s*(\{|where\b|$)"#
                        + #"|\b\#(name)\.(keys|values)\b(?!\.sorted\(|\.contains\(|\.count)"#
                        + #"|\b\#(name)\.(map|flatMap|forEach|reduce|enumerated|first)\b\s*[({]"#
                    for match in try file.matches(walks, in: file.code)
                    where !isSomethingElse(name, in: file.code[..<match.line], declaration) {
                        findings.append("\(file.path):\(match.line): \(match.text)")
                    }
                }
            }
        }
        expectNone(findings, "iterates over a dictionary or set")
    }

    private func declared(
        in code: [Substring], _ declaration: Regex<(Substring, Substring)>, depth: Int
    ) -> [String] {
        code.filter { $0.prefix { $0 == " " }.count <= depth }.compactMap {
            $0.firstMatch(of: declaration).map { String($0.1) }
        }
    }

    /// Whether the declaration of `name` that was seen last makes it no dictionary or set.
    private func isSomethingElse(
        _ name: String, in code: ArraySlice<Substring>,
        _ declaration: Regex<(Substring, Substring)>
    ) -> Bool {
        let last = code.last {
            $0.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.adjacentPairs.contains {
                ($0.0 == "let" || $0.0 == "var") && $0.1 == name
            }
        }
        return last.map { $0.firstMatch(of: declaration)?.1 != name[...] } ?? false
    }

    @Test func switchesOfMachinesHaveNoDefault() throws {
        let findings = try sources(of: Rules.exhaustive).flatMap { file in
            try file.matches(#"^\s*default\s*:"#, in: file.code).map { "\(file.path):\($0.line)" }
        }
        expectNone(findings, "a switch with default: hides a new case")
    }

    @Test func unsafeStaysInItsRoomsAndIsExplained() throws {
        var findings: [String] = []
        for file in try Self.sources.get() {
            let uses = try file.matches(#"\bunsafe\b"#, in: file.code)
            guard let first = uses.first else { continue }
            if !Rules.unsafeRooms.contains(where: { file.path.hasPrefix($0.prefix) }) {
                findings.append("\(file.path):\(first.line): unsafe outside its rooms")
            } else if try file.matches(#"SAFETY:"#, in: file.lines).isEmpty {
                findings.append("\(file.path):\(first.line): no comment says SAFETY:")
            }
        }
        expectNone(findings, "unsafe code")
    }

    @Test func filesFunctionsAndLinesAreShort() throws {
        var findings: [String] = []
        for file in try everything() {
            if file.lines.count > Rules.fileLines + 1 {
                findings.append("\(file.path): \(file.lines.count) lines")
            }
            for (index, line) in file.lines.enumerated() where line.count > Rules.columns {
                findings.append("\(file.path):\(index + 1): \(line.count) columns")
            }
            for function in functions(of: file) where function.length > Rules.functionLines {
                findings.append(
                    "\(file.path):\(function.line): function of \(function.length) lines")
            }
        }
        expectNone(findings, "longer than the house allows")
    }

    /// Declarations with a body: first line, and lines up to its closing brace.
    private func functions(of file: SourceFile) -> [(line: Int, length: Int)] {
        let start = #/(?:\bfunc\s+\S|(?:^|[^.\w])(?:init[?!]?|subscript)\s*[(<])/#
        return file.code.indices.compactMap { index -> (line: Int, length: Int)? in
            guard file.code[index].contains(start) else { return nil }
            var parentheses = 0
            var braces = 0
            for end in index..<file.code.endIndex {
                for character in file.code[end] {
                    switch character {
                    case "(": parentheses += 1
                    case ")": parentheses -= 1
                    case "{" where parentheses == 0 || braces > 0: braces += 1
                    case "}" where braces > 0:
                        braces -= 1
                        if braces == 0 { return (index + 1, end - index + 1) }
                    case "}" where parentheses <= 0: return nil
                    default: break
                    }
                }
                // A requirement of a protocol has no body.
                if end > index, braces == 0, parentheses <= 0, file.code[end].contains(start) {
                    return nil
                }
            }
            return nil
        }
    }

    @Test func nothingIsLeftForLater() throws {
        var findings: [String] = []
        for file in try everything() {
            for rule in Rules.bannedEverywhere {
                for match in try file.matches(rule.pattern, in: file.lines) {
                    findings.append("\(file.path):\(match.line): \(match.text) (\(rule.reason))")
                }
            }
        }
        expectNone(findings, "left for later")
    }

    @Test func generatedFilesAreNotTracked() throws {
        guard let tracked = try SourceTree.trackedPaths() else { return }
        #expect(tracked.contains("Package.swift"))
        let findings = tracked.filter { path in
            Rules.untrackedPaths.contains(path)
                || Rules.untrackedSuffixes.contains { path.hasSuffix($0) }
        }
        expectNone(findings, "must not be under version control")
    }
}

extension Array {
    fileprivate var adjacentPairs: [(Element, Element)] {
        [(Element, Element)](zip(self, dropFirst()))
    }
}
