internal import ClusterModel

extension Instant {
    /// For printing; machines compare integers.
    var seconds: Double { Double(nanoseconds) / 1e9 }
}
