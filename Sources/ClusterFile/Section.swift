internal import Yams

/// A mapping of the file being read: its keys with their lines, and where it stands in the file.
/// Every method that finds something wrong adds an issue and returns `nil`.
struct Section {
    struct Entry {
        let key: String
        let line: Int
        let node: Node
    }

    let path: String
    let line: Int
    let entries: [Entry]
    private let issues: IssueList
    /// Keys that a misspelt one probably meant: they are not reported as missing too.
    private var misspelt: Set<String> = []

    /// - Parameter keys: all keys that may stand here; `nil` where they are names chosen by the
    ///   writer.
    init?(_ node: Node, path: String, line: Int, keys: [String]?, issues: IssueList) {
        guard case .mapping(let mapping) = node else {
            issues.add(
                line: line, path: path, problem: "this is not a group of keys",
                expected: keys.map { "keys with values: " + $0.joined(separator: ", ") }
                    ?? "names with values",
                example: keys.flatMap(\.first).map { "\($0): ..." } ?? "shanghai: ...")
            return nil
        }
        var entries: [Entry] = []
        for (key, value) in mapping {
            let keyLine = key.mark?.line ?? line
            guard case .scalar(let scalar) = key else {
                issues.add(
                    line: keyLine, path: path, problem: "a key is not a plain word",
                    expected: "plain words as keys", example: "steps: 300")
                continue
            }
            entries.append(Entry(key: scalar.string, line: keyLine, node: value))
        }
        self.path = path
        self.line = line
        self.entries = entries
        self.issues = issues
        if let keys { reportUnknown(keys) }
    }

    private mutating func reportUnknown(_ keys: [String]) {
        for entry in entries where !keys.contains(entry.key) {
            let nearest = NearestKey.suggestion(for: entry.key, among: keys)
            if let nearest { misspelt.insert(nearest) }
            issues.add(
                line: entry.line, path: joined(entry.key),
                problem: "unknown key `\(entry.key)`"
                    + (nearest.map { "; did you mean `\($0)`?" } ?? ""),
                expected: "one of " + keys.joined(separator: ", "),
                example: "\(nearest ?? keys.first ?? ""): ...")
        }
    }

    /// Line of a key, or `nil` when it is not given.
    func line(of key: String) -> Int? { entries.first { $0.key == key }?.line }

    func joined(_ key: String) -> String { path.isEmpty ? key : path + "." + key }

    /// The value of `field`, or `nil` when it is absent or wrong.
    func value<Value>(_ field: Field<Value>) -> Value? {
        guard let entry = entries.first(where: { $0.key == field.key }) else { return nil }
        guard case .scalar(let scalar) = entry.node else {
            complain(field, line: entry.line, problem: "found a group or a list")
            return nil
        }
        if let value = field.parse(scalar.string) { return value }
        complain(
            field, line: entry.line,
            problem: scalar.string.isEmpty ? "no value" : "found `\(scalar.string)`")
        return nil
    }

    /// As ``value(_:)``, and absence is an issue too.
    func required<Value>(_ field: Field<Value>) -> Value? {
        guard line(of: field.key) != nil else {
            if !misspelt.contains(field.key) {
                complain(field, line: line, problem: "`\(field.key)` is missing")
            }
            return nil
        }
        return value(field)
    }

    private func complain<Value>(_ field: Field<Value>, line: Int, problem: String) {
        issues.add(
            line: line, path: joined(field.key), problem: problem, expected: field.expected,
            example: "\(field.key): \(field.example)")
    }

    /// The group under `key`, or `nil` when it is absent or not a group.
    func section(_ key: String, keys: [String]?) -> Section? {
        guard let entry = entries.first(where: { $0.key == key }) else { return nil }
        return Section(
            entry.node, path: joined(key), line: entry.line, keys: keys, issues: issues)
    }

    /// The items of the list under `key`, each with its path and line.
    func items(_ key: String, of what: String, example: String)
        -> [(node: Node, path: String, line: Int)]?
    {
        guard let entry = entries.first(where: { $0.key == key }) else { return nil }
        guard case .sequence(let sequence) = entry.node else {
            issues.add(
                line: entry.line, path: joined(key), problem: "this is not a list",
                expected: "a list of \(what), each after a dash", example: example)
            return nil
        }
        return sequence.enumerated().map { index, node in
            (node, "\(joined(key))[\(index)]", node.mark?.line ?? entry.line)
        }
    }

    /// Adds an issue about `key` of this section, at its line or, when it is absent, at the
    /// section's.
    func refuse(_ key: String, _ problem: String, expected: String, example: String) {
        if line(of: key) == nil, misspelt.contains(key) { return }
        issues.add(
            line: line(of: key) ?? line, path: joined(key), problem: problem, expected: expected,
            example: example)
    }
}
