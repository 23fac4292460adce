import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import NodeRuntime
import RunRecord

/// `longhaul up`: coordinator, workers and emulated links of a cluster file as processes of this
/// machine.
struct UpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up", abstract: "Run a whole cluster on this machine, links emulated.",
        discussion: """
            EXAMPLES
              longhaul up Cluster/shanghai-jinan.yaml
              longhaul up Cluster/shanghai-jinan.yaml --seed 7 --steps 60 --json
              longhaul up Cluster/shanghai-jinan.yaml --data book.txt
              longhaul up Cluster/shanghai-jinan.yaml --resume runs/NAME
            """)

    @OptionGroup var input: RunFile

    @Option(help: "Directory of this run; by default runs/NAME-DATE.")
    var dir: String?

    @Option(help: "Go on from the state in this run directory.")
    var resume: String?

    @Option(help: "Write what every machine is told and wants to this file (longhaul replay).")
    var record: String?

    @Flag(help: "Data lanes without encryption, to measure its cost; control stays encrypted.")
    var plain = false

    @Flag(help: "Print run.json on standard output instead of the closing text.")
    var json = false

    @Flag(
        help: .init("Leave when standard input ends (a parent process died).", visibility: .hidden))
    var exitWithParent = false

    static let parentFlag = "--exit-with-parent"

    func run() throws {
        let cluster = try input.load()
        try Self.checkData(cluster)
        let directory = try Self.makeDirectory(
            dir, resume: resume, name: cluster.configuration.name)
        // Last of the checks: it empties what is there.
        let recordPath = try record.map { try Self.newRecording($0) }
        let files = ReportFiles(directory: directory)
        Console.error(CheckReport(cluster, path: input.file).text)
        let launcher = ClusterLauncher(
            cluster: cluster, directory: directory, binaries: try Self.binaries(),
            arguments: input.arguments(cluster), isResumed: resume != nil,
            recordPath: recordPath, isPlain: plain, leavesWithParent: exitWithParent)
        let ending = try launcher.run { Console.error("longhaul: \($0)") }
        let summary = try files.write()
        if json {
            try Console.printSummary(summary)
        } else {
            print(try files.text())
        }
        guard ending.code == .ok else {
            Console.error("longhaul: \(ending.reason) (code \(ending.code.rawValue))")
            throw EndOfRun(code: ending.code)
        }
    }

    /// A synthetic model reads no text.
    static func checkData(_ cluster: ClusterFile) throws {
        let path = cluster.configuration.data.path
        guard cluster.configuration.model.synthetic == nil else { return }
        try Paths.requireReadable(
            path, "the training text",
            hint: path.hasSuffix("gcide.dict.dz")
                ? "apt-get install dict-gcide, or --data FILE with any other text"
                : "give a plain, .gz or dictzip text file with --data")
    }

    static func makeDirectory(_ dir: String?, resume: String?, name: String) throws -> String {
        if let resume {
            guard dir == nil || dir == resume else {
                throw Failure(
                    .usage, "--resume goes on in its own directory; --dir names another",
                    hint: "leave --dir out")
            }
            try ReportFiles(directory: resume).requireOne()
            return resume
        }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "yyyyMMdd-HHmmss"
        let path = dir ?? "runs/\(name)-\(formatter.string(from: Date()))"
        try ReportFiles(directory: path).requireNone()
        try Paths.makeDirectory(path)
        return path
    }

    /// An empty file at the path, which every process of the run can open.
    private static func newRecording(_ path: String) throws -> String {
        let whole = URL(filePath: path).path
        try Paths.prepareToWrite(whole, "the recording")
        return whole
    }

    /// The other binaries lie beside this one.
    static func binaries() throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(filePath: own).deletingLastPathComponent().path
    }
}

extension Console {
    /// `run.json`'s text.
    static func printSummary(_ summary: RunSummary) throws {
        print(String(decoding: try RunJSON.encode(summary), as: UTF8.self))
    }
}
