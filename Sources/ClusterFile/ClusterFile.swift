package import ClusterModel
internal import Foundation
internal import Yams

/// A cluster file as read and validated: what runs where, and what it trains.
package struct ClusterFile: Equatable, Sendable {
    package var topology: Topology
    package var configuration: RunConfiguration
    /// Whether the file names the seed. If not, `configuration.seed` was drawn when it was read.
    package var seedIsGiven: Bool
    /// Whether the file says itself if plans follow measured rates.
    package var adaptIsGiven = false
    /// How links are emulated on one machine.
    package var emulation = Emulation.relay
    /// How tokens choose experts where only that is simulated.
    package var routing: RoutingScenario?

    package init(topology: Topology, configuration: RunConfiguration, seedIsGiven: Bool) {
        self.topology = topology
        self.configuration = configuration
        self.seedIsGiven = seedIsGiven
    }

    /// Reads the file at `path`.
    ///
    /// - Throws: ``ClusterFileError`` with everything that is wrong with it.
    package static func load(path: String) throws(ClusterFileError) -> ClusterFile {
        try read(yaml: text(at: path), file: path)
    }

    /// Reads a cluster file from memory; `file` is only named in errors.
    ///
    /// - Throws: ``ClusterFileError`` with everything that is wrong with it.
    package static func read(
        yaml: String, file: String
    ) throws(ClusterFileError) -> ClusterFile {
        let root = try compose(yaml, file: file)
        let issues = IssueList()
        let read = FileReader(issues: issues).read(root)
        guard let read, issues.issues.isEmpty else {
            throw ClusterFileError(file: file, issues: issues.sorted)
        }
        return read
    }

    private static func text(at path: String) throws(ClusterFileError) -> String {
        func refuse(_ problem: String) -> ClusterFileError {
            ClusterFileError(
                file: path,
                issues: [
                    ClusterFileError.Issue(
                        line: nil, keyPath: "", problem: problem,
                        expected: "a cluster file in YAML, UTF-8, at most 1 MiB",
                        example: "longhaul check Cluster/shanghai-jinan.yaml")
                ])
        }
        let whole = URL(filePath: path).resolvingSymlinksInPath().path
        let attributes = try? FileManager.default.attributesOfItem(atPath: whole)
        if attributes?[.type] as? FileAttributeType == .typeDirectory {
            throw refuse("this is a directory")
        }
        guard let file = FileHandle(forReadingAtPath: path) else {
            let exists = FileManager.default.fileExists(atPath: path)
            throw refuse(exists ? "the file cannot be read" : "there is no such file")
        }
        defer { try? file.close() }
        let data: Data
        do {
            data = try file.read(upToCount: Limits.fileBytes + 1) ?? Data()
        } catch {
            throw refuse("the file cannot be read: \(error.localizedDescription)")
        }
        guard data.count <= Limits.fileBytes else {
            throw refuse("the file is larger than 1 MiB")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw refuse("the file is not UTF-8 text")
        }
        return text
    }

    private static func compose(_ yaml: String, file: String) throws(ClusterFileError) -> Node {
        func refuse(line: Int?, _ problem: String) -> ClusterFileError {
            ClusterFileError(
                file: file,
                issues: [
                    ClusterFileError.Issue(
                        line: line, keyPath: "", problem: problem,
                        expected: "one YAML document with keys and values, indented by spaces",
                        example: "steps: 300")
                ])
        }
        do {
            guard let node = try Yams.compose(yaml: yaml) else {
                throw refuse(line: nil, "the file is empty")
            }
            return node
        } catch let error as ClusterFileError {
            throw error
        } catch let error as YamlError {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                throw refuse(line: mark.line, "this is not YAML: \(problem)")
            case .duplicatedKeysInMapping(let duplicates, let context):
                let keys = duplicates.map { "`\($0)`" }.joined(separator: ", ")
                throw refuse(line: context.mark.line, "the same key stands twice: \(keys)")
            case .reader, .memory, .no, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
                throw refuse(line: nil, "this is not YAML: \(error)")
            }
        } catch {
            throw refuse(line: nil, "this is not YAML: \(error)")
        }
    }
}
