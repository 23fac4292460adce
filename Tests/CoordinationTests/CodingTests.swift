import ClusterModel
import Coordination
import Foundation
import Testing
import WireProtocol

/// Events and effects survive JSON, so that a recorded run can be replayed.
@Suite struct CodingTests {
    private func roundTrip<Value: Codable & Equatable>(_ values: [Value]) throws {
        let data = try JSONEncoder().encode(values)
        #expect(try JSONDecoder().decode([Value].self, from: data) == values)
    }

    private let key = CollectiveKey.outer(fragment: FragmentID(0), round: 3)
    private let payload = Fixtures.payload(9, elements: 100, transform: .int8)

    @Test func coordinatorEventsAndEffects() throws {
        let hello = Message.hello(Fixtures.hello(Fixtures.topology().seats[0]))
        try roundTrip([
            Coordinator.Event.started, .tick, .unreachable(ConnectionID(rawValue: 4)),
            .stop(code: .interrupted, reason: "Ctrl-C"),
            .message(
                from: ConnectionID(rawValue: 1), name: "east-1",
                incarnation: Incarnation(rawValue: 2), hello),
        ])
        try roundTrip([
            Coordinator.Effect.finished(.ok, reason: "done"),
            .send(
                to: ConnectionID(rawValue: 1), .plan(Fixtures.plan()), epoch: Epoch(rawValue: 1)),
            .event(.roundCommitted(key: key, digest: .max, members: 4, tokens: 5)),
        ])
    }

    /// Recordings of older programs lack fields that came later.
    @Test func olderHandoversAndOriginsAreRead() throws {
        let text =
            #"{"planVersion":1,"step":2,"round":3,"digest":7,"items":[{"item":1,"digest":9}]}"#
        let handover = try JSONDecoder().decode(
            TrainerOrder.Handover.self, from: Data(text.utf8))
        #expect(handover.items.map(\.digest) == [9] && handover.round == 3)
        #expect(!handover.beginsFromOuterCopy && handover.hasRest == nil)
        try roundTrip([handover])
        let seat = Fixtures.topology().seats[0]
        let origin = MachineOrigin.worker(
            seat.id, region: seat.region, hello: Fixtures.hello(seat),
            configuration: Fixtures.configuration(), topology: Fixtures.topology())
        let older = String(decoding: try JSONEncoder().encode(origin), as: UTF8.self)
        #expect(!older.contains("hasRest"))
        try roundTrip([origin])
    }

    @Test func workerEventsAndEffects() throws {
        let lane = LaneID(peer: WorkerID(2), role: .acceptor)
        let verdict = Verdict(key: key, verdict: .complete, holder: Rank(1))
        try roundTrip([
            Worker.Event.started, .controlDown, .tick, .laneConnected(lane),
            .conditions(LaneConditions(windowLimit: 6 << 20)),
            .laneDisconnected(lane), .leave(code: .terminated, reason: "SIGTERM"),
            .control(.go(Go(planVersion: 2, verdicts: [verdict])), epoch: Epoch(rawValue: 2)),
            .lane(
                lane,
                Worker.LaneFrame(
                    incarnation: Incarnation(rawValue: 1), epoch: Epoch(rawValue: 2), sequence: 3,
                    message: .pull(Pull(key: key, kind: .mean, slice: 1, position: 2)),
                    payload: nil, payloadBytes: 0)),
            .reduced(key: key, epoch: Epoch(rawValue: 2), slice: 0, position: 1, mean: payload),
            .trainer(.absorbed(key: key, target: .outerStep, digest: .max)),
            .trainer(
                .absorbed(key: key, target: .optimiserStep, digest: 0, experts: [0.1, 1e-9])),
            .trainer(
                .computed(
                    step: 1, loss: 5.5, tokens: 256, samples: 2, elapsed: .milliseconds(3))),
        ])
        try roundTrip([
            Worker.Effect.allow([
                Fixtures.member(1, seat: 1, region: 0, configuration: Fixtures.configuration())
            ]), .hangUp(lane),
            .train(.compute(step: 1, samples: 0..<2)), .train(.evaluate(step: 4)),
            .release(PayloadHandle(rawValue: 1)), .finished(.unavailable, reason: "no coordinator"),
            .reduce(
                key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 0,
                sources: [
                    ShardReduction.Source(handle: PayloadHandle(rawValue: 1), weight: 7)
                ], transform: .int8, elements: 100, contributes: key),
        ])
    }

    @Test func roundShardAndLaneEventsAndEffects() throws {
        let mean = WorkerRound.Mean(
            key: key, slice: 1, position: 0, payload: payload, weight: 10, mayLeave: true)
        try roundTrip([
            WorkerRound.Event.mean(mean), .committed(key: key), .coordinatorLost,
            .plan(Fixtures.plan(), epoch: Epoch(rawValue: 1)), .arrival(key: key),
            .stateInstalled(step: 4, round: 2),
        ])
        try roundTrip([
            WorkerRound.Effect.forward(to: Rank(1), mean), .trained, .abandonShards,
            .pull(from: Rank(2), key: key, slice: 0, position: 1), .openShard(key),
            .report(Report(key: key, digest: 1, step: 2, tokens: 3)), .violation("x"),
        ])
        try roundTrip([
            WorkerRound.Stage.idle, .computing(step: 1), .readyToShare(step: 1, tokens: 2),
            .sharing(key), .readyToExchange(key, weight: 3), .awaitingCommit(key),
            .absorbing(key, .outerStep), .trained,
        ])
        try roundTrip([
            ShardReduction.Event.close(
                key: key, counted: [.init(group: 0, weight: 7), .init(group: 2, weight: .max)]),
            .reduced(
                key: key, epoch: Epoch(rawValue: 1), slice: 0, position: 1,
                mean: PayloadHandle(rawValue: 3)),
        ])
        try roundTrip([
            LaneSession.Event.connected, .disconnected, .consumed(bytes: 4), .resize(window: 9),
            .decided(lanes: 4), .watch,
            .received(
                sequence: 1, message: .laneBye(LaneBye(lastSequence: 2)), payload: nil,
                payloadBytes: 0),
        ])
    }

    /// Whole lines of recordings made by a program that knew neither owners of experts, budgets of tokens nor
    /// rounds of encodings.
    @Test func linesOfOlderRecordingsAreRead() throws {
        let decoder = JSONDecoder()
        let planned = try decoder.decode(MachineRecord.self, from: Data(Self.olderPlan.utf8))
        guard case .worker(_, _, .control(.plan(let plan), _), let effects) = planned else {
            Issue.record("\(planned)")
            return
        }
        #expect(plan.members.map(\.name) == ["n1"] && plan.samplesPerStep == 1)
        #expect(plan.expertOwners.isEmpty && plan.tokenBudgets.isEmpty)
        #expect(effects.count == 2)
        let encoded = try decoder.decode(MachineRecord.self, from: Data(Self.olderEncoding.utf8))
        guard case .worker(_, _, _, let wanted) = encoded,
            case .train(.encode(let encoding)) = wanted.last
        else {
            Issue.record("\(encoded)")
            return
        }
        #expect(encoding.round == encoding.key && encoding.key.round == 1)
        #expect(encoding.chunks.count == 2)
        try roundTrip([planned, encoded])
    }

    /// Nothing but the first lists: what a plan of the first programs had.
    @Test func plansWithoutLaterListsAreRead() throws {
        var text = Self.olderPlan
        for list in ["codecs", "detours", "expertPeriods", "experts"] {
            text = text.replacingOccurrences(of: "\"\(list)\":[],", with: "")
        }
        #expect(
            try JSONDecoder().decode(MachineRecord.self, from: Data(text.utf8))
                == JSONDecoder().decode(MachineRecord.self, from: Data(Self.olderPlan.utf8)))
    }

    private static let olderPlan =
        #"{"worker":{"_2":{"control":{"_0":{"plan":{"_0":{"activateAtRound":0,"cod"#
        + #"ecs":[],"detours":[],"expertPeriods":[],"experts":[],"fragments":[{"id":"#
        + #"0,"ranges":[{"count":30432,"start":0}],"round":1}],"members":[{"dataKey""#
        + #":"1a010cb94a811dd8d815a888d011175a15b9e02bff1a24fe996456182f6e703e","end"#
        + #"point":"tcp://127.0.0.1:36479","incarnation":1795947124957249792,"lastSt"#
        + #"ep":2,"microBatch":1,"name":"n1","overlap":0,"ownerWeight":1,"rank":0,"r"#
        + #"egion":0,"sampleOffset":0,"state":0,"stateSource":65535,"syncEvery":1,"w"#
        + #"orkerID":0}],"planVersion":1,"poolTransform":0,"regionTransform":0,"samp"#
        + #"lesPerStep":1}}},"epoch":1}},"_3":[{"allow":{"_0":[]}},{"control":{"_0":"#
        + #"{"ready":{"_0":{"holdings":[],"planVersion":1,"step":0}}}}}],"at":{"nano"#
        + #"seconds":79115635},"process":4475}}"#

    private static let olderEncoding =
        #"{"worker":{"_2":{"trainer":{"_0":{"absorbed":{"digest":0,"experts":[],"k"#
        + #"ey":{"fragment":0,"region":0,"round":4,"scope":0},"target":"optimiserSte"#
        + #"p"}}}},"_3":[{"release":{"_0":14}},{"release":{"_0":15}},{"train":{"_0":"#
        + #"{"encode":{"_0":{"absent":[],"chunks":[{"position":0,"range":[15216,2282"#
        + #"4],"slice":2},{"position":0,"range":[0,7608],"slice":0}],"epoch":1,"frag"#
        + #"ment":[{"count":30432,"start":0}],"keeps":false,"key":{"fragment":0,"reg"#
        + #"ion":65535,"round":1,"scope":1},"source":"outerGradient","transform":3}}"#
        + #"}}}],"at":{"nanoseconds":429150450},"process":3016}}"#
}
