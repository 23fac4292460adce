import ClusterFile
import Testing

/// A small sound file; tests replace or add lines of it.
enum Sample {
    static let twoRegions = """
        name: test
        steps: 60
        seed: 7
        coordinator: east
        regions:
          east:
            workers:
              - {name: e1, batch: 3, step: 100 ms}
              - {name: e2, batch: 1, step: 100 ms}
          west:
            workers:
              - {name: w1, batch: 2, step: 100 ms}
              - {name: w2, batch: 2, step: 100 ms}
        links:
          - {between: [east, west], distance: 1500 km, one_way: 15 ms, rate: 20 Mbit/s}
        schedule: {inner: every-step, outer: diloco, sync_every: 30}
        wire: {inside: fp32, between: int8}
        """

    static let oneWorker = """
        name: test
        steps: 60
        regions: {east: {workers: [{name: e1, batch: 3}]}}
        """

    static func twoRegions(replacing old: String, with new: String) throws -> String {
        try #require(twoRegions.contains(old))
        return twoRegions.replacing(old, with: new)
    }

    /// The issues `yaml` is refused with; none when it is accepted.
    static func issues(_ yaml: String) -> [ClusterFileError.Issue] {
        do {
            _ = try ClusterFile.read(yaml: yaml, file: "test.yaml")
            return []
        } catch {
            return error.issues
        }
    }
}
