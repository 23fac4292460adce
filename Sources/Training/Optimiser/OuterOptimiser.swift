/// Steps the outer copy of a fragment on the mean outer gradient; one type each. Only multiplications and
/// additions, rounded one by one: every member that decodes the same mean gets the same bytes, on
/// every machine.
package protocol OuterOptimiser: Sendable {
    /// One step over equal ranges of the three vectors.
    ///
    /// - Parameters:
    ///   - buffer: the momentum, zero before the first round.
    ///   - round: of the fragment, from 1.
    func step(
        parameters: inout MutableSpan<Float>, buffer: inout MutableSpan<Float>,
        gradient: Span<Float>, round: UInt32)
}
