import ClusterModel
import NodeRuntime

/// A measurement while it waits, which it otherwise does in silence.
enum BenchWatch {
    /// - Throws: `Failure` when nobody reads the result any more, so that the workers end too.
    static func checkReaders() throws {
        guard OutputReaders.areGone else { return }
        throw Failure(.unavailable, "nobody reads this command's output any more")
    }

    /// A measurement needs every worker it began with; a coordinator would wait for ever for others to come
    /// in their place.
    ///
    /// - Throws: `Failure` as ``checkReaders()``, or one that names a worker which ended otherwise than in
    ///   order.
    static func check(_ workers: [ChildProcess]) throws {
        try checkReaders()
        for worker in workers {
            switch worker.ending {
            case nil, .code(0): continue
            case .code(let code):
                throw Failure(
                    .unavailable, "worker '\(worker.name)' ended with code \(code)",
                    hint: "its own message stands above")
            case .signal(let number):
                throw Failure(
                    .unavailable, "worker '\(worker.name)' was killed by signal \(number)")
            }
        }
    }
}
