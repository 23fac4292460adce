import ClusterFile
import ClusterModel
import Testing

/// Device profiles: what they set, and what is refused.
struct DeviceTests {
    private static let profiles = """
        reference: {step: 200 ms, batch: 4}
        devices:
          a: {speed: 1, memory: 1 GB, idle: 60 W, busy: 400 W, price: 2.40 EUR/h, organisation: lab}
          b: {speed: 0.5, busy: 1.5 kW, idle: 100 W}
        """

    private func file(_ profiles: String = profiles, e1: String, e2: String) throws -> String {
        let workers = try Sample.twoRegions(
            replacing: "{name: e1, batch: 3, step: 100 ms}", with: e1
        ).replacing("{name: e2, batch: 1, step: 100 ms}", with: e2)
        return workers + "\n" + profiles
    }

    @Test func profilesPaceAndDescribe() throws {
        let yaml = try file(
            e1: "{name: e1, batch: 4, device: a}", e2: "{name: e2, batch: 2, device: b}")
        let workers = try ClusterFile.read(yaml: yaml, file: "t").topology.regions[0].workers
        // 200 ms x 4/4 / 1; 200 ms x 2/4 / 0.5.
        #expect(workers.map(\.nominalStep) == [.milliseconds(200), .milliseconds(200)])
        #expect(workers[1].nominalStep(samples: 3) == .milliseconds(300))
        #expect(workers[0].device?.price == .init(perHour: 2.4, currency: "EUR"))
        #expect(workers[0].device?.memoryBytes == 1_000_000_000)
        #expect(workers[1].device?.busyWatts == 1500)
        #expect(workers[1].device?.organisation == nil)
        // Half an hour at work and half an hour at rest.
        #expect(workers[0].device?.wattHours(busySeconds: 1800, idleSeconds: 1800) == 230)
        #expect(workers[0].device?.cost(seconds: 1800) == 1.2)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var old: String
        var new: String
        var keyPath: String
        var says: String
        var testDescription: String { new }
    }

    private static let cases = [
        Case(
            old: "device: b", new: "device: B2", keyPath: "regions.east.workers[1].device",
            says: "did you mean `b`?"),
        Case(
            old: "device: b", new: "device: b, step: 100 ms",
            keyPath: "regions.east.workers[1].step", says: "fixes the pace already"),
        Case(
            old: "device: b", new: "step: 100 ms", keyPath: "devices.b", says: "no worker is a `b`"),
        Case(
            old: "reference: {step: 200 ms, batch: 4}", new: "",
            keyPath: "regions.east.workers[0].device", says: "`reference` is missing"),
        Case(
            old: "batch: 4}", new: "bacth: 4}", keyPath: "reference.bacth",
            says: "did you mean `batch`?"),
        Case(old: "busy: 1.5 kW, ", new: "", keyPath: "devices.b.busy", says: "needs both"),
        Case(old: "1.5 kW", new: "50 W", keyPath: "devices.b.idle", says: "more at rest"),
        Case(old: "1.5 kW", new: "1500", keyPath: "devices.b.busy", says: "found `1500`"),
        Case(old: "2.40 EUR/h", new: "2.40/h", keyPath: "devices.a.price", says: "found `2.40/h`"),
        Case(
            old: "idle: 100 W}", new: "idle: 100 W, price: 1 USD/h}", keyPath: "devices.b.price",
            says: "cannot be added"),
        Case(old: "1 GB", new: "1 MB", keyPath: "devices.a.memory", says: "cannot hold the run"),
        Case(
            old: "organisation", new: "organization", keyPath: "devices.a.organization",
            says: "did you mean `organisation`?"),
    ]

    @Test(arguments: cases) func isRefused(_ refusal: Case) throws {
        let yaml = try file(
            e1: "{name: e1, batch: 4, device: a}", e2: "{name: e2, batch: 2, device: b}")
        try #require(yaml.contains(refusal.old))
        let issues = Sample.issues(yaml.replacing(refusal.old, with: refusal.new))
        let told = issues.map { "\($0.keyPath): \($0.problem)" }
        #expect(
            issues.contains { $0.keyPath == refusal.keyPath && $0.problem.contains(refusal.says) },
            "\(told)")
    }

    @Test func aReferenceNobodyUsesIsRefused() {
        let issues = Sample.issues(
            Sample.twoRegions + "\nreference: {step: 200 ms, batch: 4}\n")
        #expect(issues.map(\.keyPath) == ["reference"])
    }
}
