/// The sum of two counts, or the largest count there is. Counts come from peers: one that tells nonsense
/// must spoil its figures, not end whoever adds them up.
package func saturatingSum(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let (value, overflow) = a.addingReportingOverflow(b)
    return overflow ? .max : value
}
