package import ClusterModel
internal import Reduction
package import ReductionKernels

/// Reduces many chunk positions at once on a few threads, one `FusedReducer` each.
///
/// A position is reduced by one thread in the order of its sources, and results are returned in
/// the order of the positions: neither bytes nor figures depend on the number of threads.
package final class ReducerPool {
    /// The sources of one chunk position.
    package struct Position: Sendable {
        package var chunks: [EncodedChunk]
        package var elements: Int

        package init(chunks: [EncodedChunk], elements: Int) {
            self.chunks = chunks
            self.elements = elements
        }
    }

    /// What became of one position.
    package typealias Outcome = Result<(mean: EncodedChunk, result: ReductionResult), ChunkError>

    private let pool: KernelPool
    private let reducers: Reducers

    /// - Parameter threads: 1 to 64, the caller's included.
    package init(
        threads: Int, choice: LosslessChoice = .stored,
        kernels: any KernelSet.Type = Kernels.current
    ) {
        pool = KernelPool(threads: threads)
        reducers = Reducers(
            (0..<threads).map { _ in FusedReducer(choice: choice, kernels: kernels) })
    }

    /// Reduces every position.
    package func reduce(
        _ positions: [Position], transform: TransformID, limit: Float = .infinity
    ) -> [Outcome] {
        let reducers = reducers
        let parts = reducers.all.count
        reducers.outcomes = Array(repeating: [], count: parts)
        // Part p takes positions p, p + parts, ...: each part has its own reducer and its own list.
        pool.run(parts) { part in
            var outcomes: [Outcome] = []
            for index in stride(from: part, to: positions.count, by: parts) {
                outcomes.append(
                    Outcome { () throws(ChunkError) in
                        try reducers.all[part].reduce(
                            positions[index].chunks, elements: positions[index].elements,
                            transform: transform, limit: limit)
                    })
            }
            reducers.set(outcomes, of: part)
        }
        return positions.indices.map { reducers.outcomes[$0 % parts][$0 / parts] }
    }
}

/// What the threads of a `ReducerPool` use.
private final class Reducers: @unchecked Sendable {
    // SAFETY of @unchecked Sendable: during a pass part p touches reducer p and element p of
    // `outcomes` only, and KernelPool orders the pass before what follows it.
    let all: [FusedReducer]
    var outcomes: [[ReducerPool.Outcome]] = []

    init(_ all: [FusedReducer]) { self.all = all }

    func set(_ outcomes: [ReducerPool.Outcome], of part: Int) {
        // SAFETY: `outcomes` has one element per part and is not resized during a pass.
        unsafe self.outcomes.withUnsafeMutableBufferPointer { unsafe $0[part] = outcomes }
    }
}
