import ClusterModel
import NodeRuntime
import Testing
import WireProtocol

/// Every kind of event once, with values that a careless coding would change.
private enum Examples {
    static let key = CollectiveKey(
        scope: .pool, region: .none, fragment: FragmentID(2), round: .max)

    static let topology = Topology(
        regions: [
            .init(
                name: "north",
                workers: [.init(name: "n-1", microBatch: 3, nominalStep: .milliseconds(10))])
        ], links: [], coordinatorRegion: RegionID(0))

    static let configuration = RunConfiguration(
        name: "ü \"quoted\"", seed: .max, steps: 60, model: .standard, training: .standard,
        schedule: .init(
            inner: .everyStep, outer: .diloco, syncEvery: 10, outerLearningRate: 0.7,
            outerMomentum: 0.9), wire: .init(insideRegion: .fp32, betweenRegions: .int8),
        deadlines: .standard, data: .gcide)

    static var events: [RunEvent] {
        var budget = RunEvent.TimeBudget()
        budget.wall = .seconds(9)
        budget.recover = Interval(nanoseconds: 1)
        return membership + [
            .runStarted(
                .init(
                    run: RunID(rawValue: .max), version: "1", command: ["longhaul", "up", "a b"],
                    configuration: configuration, topology: topology, emulated: true, curve: true,
                    parameterCount: 1 << 60, machine: "two cores")),
            .stepped(worker: WorkerID(3), step: .max, loss: 5.545_177_444_479_562, tokens: .max),
            .stepped(
                worker: WorkerID(3), step: 1, loss: 0, tokens: 1, at: Instant(nanoseconds: .max)),
            .evaluated(worker: WorkerID(0), step: 1, loss: 1.0 / 3, samples: 32),
            .roundCommitted(key: key, digest: 0xFFFF_0000_1234_5678, members: 4, tokens: 9),
            .waiting(
                observer: "n-1", activity: "means", names: ["n-2", "s-1"],
                since: Instant(nanoseconds: -1), until: nil, then: "evict"),
            .violation(culprit: "s-1", what: "sent\nlines"),
            .checkpointWritten(worker: WorkerID(1), path: "/a b", step: 7, bytes: .max),
            .checkpointFailed(worker: WorkerID(1), path: "/a", reason: "full"),
            .budget(worker: WorkerID(1), budget),
            .traffic(
                worker: WorkerID(1),
                .init(
                    toRegion: RegionID(1), frames: 1, bytes: .max, resent: 2, values: 3,
                    encodedBytes: 4)),
            .linkUse(
                .init(from: RegionID(0), to: RegionID(1), bytes: .max, flows: 1, peakQueueBytes: 2)),
            .peakMemory(process: "n-1", bytes: .max),
            .modelWritten(worker: WorkerID(0), path: "/m", digest: .max),
            .codecUse(worker: WorkerID(0), [.init(name: "norm", values: .max, bits: 1)]),
            .lanesDecided(
                .init(
                    from: RegionID(0), to: RegionID(1), worker: "a", peer: "b", lanes: 16,
                    because: "10 ms")),
            .expertUse(
                worker: WorkerID(0), step: 9, [.init(shares: [0.25, 0.75], dropped: 0.125)]),
            .expertsExchanged(round: 7, elements: 1, of: .max),
            .expertOwners(
                .init(
                    turn: .max, owners: [.none, RegionID(1)],
                    budgets: [.init(from: RegionID(0), to: RegionID(1), tokens: .max)])),
            .tokensCrossed(worker: WorkerID(1), crossed),
            .note(source: "n-1", text: "ü"), .runEnded(code: -1, reason: ""),
        ]
    }

    private static var crossed: RunEvent.TokensCrossed {
        var crossed = RunEvent.TokensCrossed(regions: 2)
        (crossed.steps, crossed.tokens, crossed.crossed) = (1, .max, [0, .max])
        (crossed.stayed, crossed.changed) = (2, 3)
        return crossed
    }

    private static var membership: [RunEvent] {
        [
            .workerJoined(
                worker: WorkerID(1), name: "n-2", region: RegionID(0),
                incarnation: Incarnation(rawValue: .max)),
            .epochStarted(
                epoch: Epoch(rawValue: 2), members: [WorkerID(0), WorkerID(3)], reason: "start"),
            .workerEvicted(worker: WorkerID(1), name: "n-2", reason: "silent"),
            .workerLeft(worker: WorkerID(1), name: "n-2", code: 130, reason: "left"),
            .coordinatorLost(
                worker: WorkerID(1), since: .zero, until: Instant(nanoseconds: .max)),
            .coordinatorReturned(worker: WorkerID(1)),
            .waited(
                observer: "n-1", activity: "outer round 2", names: ["n-2"], since: .zero,
                until: Instant(nanoseconds: .max)),
            .roundClosed(
                RunEvent.RoundClosed(
                    key: .outer(fragment: FragmentID(0), round: 2), after: .milliseconds(3),
                    taken: [.init(replica: "n", weight: .max, tokens: 4, steps: 5, missed: 6)],
                    late: ["m"], because: "enough are there")),
            .stateTaken(
                RunEvent.StateTaken(
                    worker: WorkerID(1), step: 7, round: 2, took: .milliseconds(3),
                    resumedBytes: 5, sources: [.init(worker: WorkerID(0), bytes: .max)])),
            .relayed(
                worker: WorkerID(1),
                [.init(from: WorkerID(0), to: WorkerID(2), frames: 1, bytes: .max)]),
        ]
    }

    /// No `default`: a new kind of event does not compile before it has a number here.
    static func number(_ event: RunEvent) -> Int {
        switch event {
        case .runStarted: 0
        case .workerJoined: 1
        case .epochStarted: 2
        case .stepped: 3
        case .evaluated: 4
        case .roundCommitted: 5
        case .waiting: 6
        case .workerEvicted: 7
        case .workerLeft: 8
        case .violation: 9
        case .coordinatorLost: 10
        case .coordinatorReturned: 11
        case .checkpointWritten: 12
        case .checkpointFailed: 13
        case .budget: 14
        case .traffic: 15
        case .linkUse: 16
        case .peakMemory: 17
        case .modelWritten: 18
        case .note: 19
        case .runEnded: 20
        case .codecUse: 21
        case .lanesDecided: 22
        case .expertUse: 23
        case .stateTaken: 24
        case .relayed: 25
        case .expertsExchanged: 26
        case .expertOwners: 27
        case .tokensCrossed: 28
        case .roundClosed: 29
        case .waited: 30
        }
    }
}

@Suite("Events on the wire") struct EventCodingTests {
    @Test("every kind of event survives, bit for bit")
    func roundTrip() throws {
        let events = Examples.events
        #expect(Set(events.map(Examples.number)) == Set(0...30))
        for event in events {
            #expect(EventCoding.decode(EventCoding.encode(event)) == event)
        }
    }

    @Test("what is no event of this version is nil, not a crash")
    func unknown() {
        for text in ["", "{}", "[]", "{\"newKind\":{\"_0\":1}}", "\u{0}", "{\"note\":{}}"] {
            #expect(EventCoding.decode(Array(text.utf8)) == nil, "\(text)")
        }
        #expect(EventCoding.decode([0xFF, 0xFE]) == nil)
    }

    @Test("steps of records that do not say when they ended")
    func steppedWithoutTime() {
        let text = #"{"stepped":{"worker":3,"step":7,"loss":2.5,"tokens":512}}"#
        let event = RunEvent.stepped(worker: WorkerID(3), step: 7, loss: 2.5, tokens: 512)
        #expect(EventCoding.decode(Array(text.utf8)) == event)
        let timed = RunEvent.stepped(
            worker: WorkerID(3), step: 7, loss: 2.5, tokens: 512, at: Instant(nanoseconds: 9))
        #expect(EventCoding.encode(event).count < EventCoding.encode(timed).count)
    }

    @Test("an event over the frame's limit goes out as a note that says so")
    func tooLarge() throws {
        let long = String(repeating: "x", count: ProtocolLimits.eventBytes)
        let bytes = EventCoding.encode(.note(source: "n-1", text: long))
        #expect(bytes.count <= ProtocolLimits.eventBytes)
        guard case .note(_, let text) = EventCoding.decode(bytes) else {
            Issue.record("not a note")
            return
        }
        #expect(text.contains("too large"))
    }

    @Test("a briefing survives, and its text is the same every time")
    func briefing() throws {
        let briefing = Briefing(
            configuration: Examples.configuration, topology: Examples.topology)
        #expect(try Briefing(text: briefing.text) == briefing)
        #expect(try Briefing(text: briefing.text).text == briefing.text)
        #expect(throws: (any Error).self) { try Briefing(text: "{}") }
    }
}
