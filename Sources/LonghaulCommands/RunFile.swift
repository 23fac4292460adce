import ArgumentParser
import ClusterFile
import ClusterModel
import Foundation
import Training

/// The cluster file and the flags that replace single values of it. Flags stand above the file, the file
/// above defaults.
struct RunFile: ParsableArguments {
    @Argument(help: "Cluster file (YAML).")
    var file: String

    @Option(help: "Seed of the run: parameters, data order, jitter. Same seed, same bytes.")
    var seed: UInt64?

    @Option(help: "Inner steps each replica trains.")
    var steps: UInt32?

    @Option(help: "Text to train on: plain, .gz or dictzip. 'gcide' is Debian's dictionary.")
    var data: String?

    /// Reads and checks the file and applies the flags.
    func load() throws -> ClusterFile {
        var cluster = try ClusterFile.load(path: file)
        if let seed {
            cluster.configuration.seed = seed
            cluster.seedIsGiven = true
        }
        if let steps {
            guard steps > 0 else {
                throw Failure(.usage, "--steps 0 trains nothing", hint: "use at least 1")
            }
            cluster.configuration.steps = steps
        }
        if let data {
            cluster.configuration.data.path = data == "gcide" ? Corpus.defaultPath : data
        }
        return cluster
    }

    /// Flags that a child process needs to arrive at the same configuration.
    func arguments(_ cluster: ClusterFile) -> [String] {
        [
            file, "--seed", String(cluster.configuration.seed), "--steps",
            String(cluster.configuration.steps), "--data", cluster.configuration.data.path,
        ]
    }
}
