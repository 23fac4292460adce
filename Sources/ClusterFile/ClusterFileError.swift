/// Why a cluster file was refused: everything that is wrong with it at once, in file order.
package struct ClusterFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// As the caller named it.
    package var file: String
    package var issues: [Issue]

    package struct Issue: Codable, Equatable, Sendable {
        /// Counts from 1; `nil` where the file could not be read at all.
        package var line: Int?
        /// `links[0].rate`; empty for the file as a whole.
        package var keyPath: String
        package var problem: String
        package var expected: String
        /// A piece of YAML that would be accepted.
        package var example: String

        package init(
            line: Int?, keyPath: String, problem: String, expected: String, example: String
        ) {
            self.line = line
            self.keyPath = keyPath
            self.problem = problem
            self.expected = expected
            self.example = example
        }
    }

    package init(file: String, issues: [Issue]) {
        self.file = file
        self.issues = issues
    }

    /// One block per issue: `file:line: key path: problem`, then what was expected and an example.
    package var description: String {
        issues.map { issue in
            var place = file
            if let line = issue.line { place += ":\(line)" }
            if !issue.keyPath.isEmpty { place += ": \(issue.keyPath)" }
            return """
                \(place): \(issue.problem)
                    expected: \(issue.expected)
                    example:  \(issue.example)
                """
        }.joined(separator: "\n")
    }
}

/// Collects what is wrong while a file is read, so that one run of `longhaul check` tells all of
/// it.
final class IssueList {
    private(set) var issues: [ClusterFileError.Issue] = []

    func add(
        line: Int?, path: String, problem: String, expected: String, example: String
    ) {
        issues.append(
            ClusterFileError.Issue(
                line: line, keyPath: path, problem: problem, expected: expected, example: example))
    }

    /// In file order; issues without a line come last.
    var sorted: [ClusterFileError.Issue] {
        issues.enumerated()
            .sorted { a, b in
                (a.element.line ?? .max, a.offset) < (b.element.line ?? .max, b.offset)
            }
            .map(\.element)
    }
}
