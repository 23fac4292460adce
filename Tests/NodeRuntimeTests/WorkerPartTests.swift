import ClusterModel
import Coordination
import Foundation
import NodeRuntime
import Testing
import Training
import WireProtocol
import ZeroMQ

@Suite("Fragments in the parameter vector") struct FragmentMapTests {
    private let map = FragmentMap([
        ElementRange(start: 100, count: 10), ElementRange(start: 0, count: 5),
        ElementRange(start: 50, count: 1),
    ])

    @Test("elements of a collective lie where the ranges say, in their order")
    func places() {
        #expect(map.parameters(0..<10) == [100..<110])
        #expect(map.parameters(8..<12) == [108..<110, 0..<2])
        #expect(map.parameters(9..<16) == [109..<110, 0..<5, 50..<51])
        #expect(map.parameters(15..<16) == [50..<51])
        #expect(map.parameters(4..<4) == [])
        #expect(map.all == [100..<110, 0..<5, 50..<51])
    }

    @Test("what pieces cover is as long as can be, and without pieces the whole")
    func parts() {
        #expect(
            map.parts([0..<3, 3..<8, 9..<12, 12..<16]) == [100..<108, 109..<110, 0..<5, 50..<51])
        #expect(map.parts([0..<10, 10..<16]) == map.all)
        #expect(map.parts([]) == map.all)
    }

    @Test("any cut of the collective covers every parameter once", arguments: 1...16)
    func covers(_ size: UInt64) {
        var covered: [Int] = []
        for start in stride(from: UInt64(0), to: 16, by: Int(size)) {
            covered += map.parameters(start..<min(start + size, 16)).flatMap { Array($0) }
        }
        #expect(covered == map.all.flatMap { Array($0) })
    }
}

@Suite("Encoded sizes by class of tensors") struct TensorClassTallyTests {
    @Test("a chunk counts for every class it covers, by its share")
    func shares() {
        let tensors = [
            TensorSpec(name: "e", shape: [10], range: 0..<10, layer: nil, kind: .embedding),
            TensorSpec(name: "w", shape: [20], range: 10..<30, layer: 0, kind: .matrix),
            TensorSpec(name: "b", shape: [4], range: 30..<34, layer: 0, kind: .bias),
        ]
        var tally = TensorClassTally(tensors: tensors)
        tally.add([5..<15], bytes: 10)
        tally.add([28..<34, 0..<2], bytes: 16)
        tally.add([], bytes: 7)
        let mixed: UInt64 = 5 * 8 + 2 * 16
        let expected: [RunEvent.TensorClassUse] = [
            .init(name: "embedding", values: 7, bits: mixed),
            .init(name: "matrix", values: 7, bits: mixed),
            .init(name: "bias", values: 4, bits: 64),
        ]
        #expect(tally.uses == expected)
    }
}

@Suite("Where a trainer's time goes") struct TimeAccountTests {
    @Test("nothing counts before the first step; then the categories sum to the wall time")
    func sums() {
        let account = TimeAccount()
        account.enter(.encode)
        account.idle(as: .transfer)
        usleep(2_000)
        #expect(account.budget.wall == .zero)
        let categories: [TimeAccount.Category] = [
            .compute, .encode, .idle, .decode, .apply, .recover, .idle,
        ]
        for turn in 0..<50 {
            account.enter(categories[turn % categories.count])
            account.idle(as: [.wait, .transfer, .recover][turn % 3])
            if turn.isMultiple(of: 9) { account.addPaced(1_000) }
            usleep(200)
            let budget = account.budget
            #expect(budget.sum == budget.wall)
        }
        let budget = account.budget
        #expect(budget.wall >= .milliseconds(10))
        for part in [budget.compute, budget.encode, budget.decode, budget.apply, budget.wait] {
            #expect(part > .zero)
        }
        #expect(budget.transfer > .zero && budget.recover > .zero)
        #expect(budget.paced == Interval(nanoseconds: 6_000))
    }

    /// Not what was slept, and what was computed.
    @Test("processor time is that of the process since the first step")
    func processor() throws {
        let account = TimeAccount()
        #expect(account.budget.processor == nil)
        account.enter(.compute)
        usleep(50_000)
        let before = try #require(account.budget.processor)
        let began = ProcessTime.cpuSeconds()
        var sum = 0.0
        while ProcessTime.cpuSeconds() < began + 0.02 { sum += 1 }
        let after = try #require(account.budget.processor)
        #expect(sum > 0 && (after - before) >= .milliseconds(20))
    }

    @Test("two threads at once lose no time")
    func threads() {
        let account = TimeAccount()
        account.enter(.compute)
        DispatchQueue.concurrentPerform(iterations: 2) { thread in
            for turn in 0..<20_000 {
                if thread == 0 {
                    account.enter(turn.isMultiple(of: 2) ? .compute : .idle)
                } else {
                    account.idle(as: turn.isMultiple(of: 2) ? .wait : .transfer)
                }
            }
        }
        let budget = account.budget
        #expect(budget.sum == budget.wall)
    }
}

extension RunEvent.TimeBudget {
    fileprivate var sum: Interval {
        compute + encode + wait + transfer + decode + apply + recover
    }
}

@Suite("Payloads by handle") struct PayloadStoreTests {
    private func payload(_ bytes: [UInt8]) -> PayloadBytes {
        PayloadBytes(made: bytes, transform: .fp32, stage: .stored)
    }

    @Test("bytes come back, handles are never used twice, and the peak is kept")
    func handles() {
        var store = PayloadStore()
        var seen: Set<PayloadHandle> = []
        for round in 1...20 {
            let handles = (1...round).map { store.add(payload([UInt8(exactly: $0) ?? 0, 8, 9])) }
            for (index, handle) in handles.enumerated() {
                #expect(seen.insert(handle).inserted)
                let first = store[handle].withBytes { $0[0] }
                #expect(first == UInt8(index + 1))
            }
            #expect(store.heldBytes == 3 * round)
            for handle in handles { store.release(handle) }
            #expect(store.heldBytes == 0 && store.peakBytes == 3 * round)
        }
    }

    @Test("a part of a received message outlives the message's owner")
    func received() throws {
        let message = try ZeroMQ.Message(copying: Array("header|payload".utf8))
        var store = PayloadStore()
        let handle = store.add(
            PayloadBytes(
                in: HeldMessage(message), range: 7..<14, transform: .int8, stage: .stored))
        #expect(store[handle].count == 7)
        let text = store[handle].withBytes { bytes in
            String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
        }
        #expect(text == "payload")
        #expect(store.heldBytes == 7)
    }
}

@Suite("Seats for join tokens") struct EnrolmentTests {
    private static let topology = Topology(
        regions: [
            .init(name: "north", workers: [worker("n-1"), worker("n-2")]),
            .init(name: "south", workers: [worker("s-1")]),
        ], links: [], coordinatorRegion: RegionID(0))

    private static func worker(_ name: String) -> Topology.Worker {
        .init(name: name, microBatch: 1, nominalStep: .zero)
    }

    private func key(_ fill: UInt8) throws -> PublicKey {
        try #require(PublicKey(bytes: [UInt8](repeating: fill, count: 32)))
    }

    private func code(_ result: Result<Enrolment.Seat, Enrolment.Refusal>) -> RefusalCode? {
        if case .failure(let refusal) = result { refusal.code } else { nil }
    }

    @Test("a seat is given once, and again to the same key")
    func once() throws {
        var enrolment = Enrolment(topology: Self.topology, taken: [])
        let seat = Enrolment.Seat(id: WorkerID(2), name: "s-1")
        let first = enrolment.take(worker: "s-1", region: "south", key: try key(1))
        #expect(first == .success(seat))
        #expect(enrolment.take(worker: "s-1", region: "", key: try key(1)) == .success(seat))
        let other = enrolment.take(worker: "s-1", region: "", key: try key(2))
        #expect(code(other) == .seatTaken)
        guard case .failure(let refusal) = other else { return }
        #expect(refusal.hint == "free seats: n-1 (north), n-2 (north)")
    }

    @Test("no such seat, the wrong region, a seat of the allow-list, a full pool")
    func refusals() throws {
        var enrolment = Enrolment(topology: Self.topology, taken: ["n-1"])
        #expect(
            code(enrolment.take(worker: "x", region: "", key: try key(1))) == .unknownWorker)
        #expect(
            code(enrolment.take(worker: "n-2", region: "south", key: try key(1)))
                == .unknownWorker)
        #expect(code(enrolment.take(worker: "n-1", region: "", key: try key(1))) == .seatTaken)
        _ = enrolment.take(worker: "n-2", region: "", key: try key(2))
        _ = enrolment.take(worker: "s-1", region: "", key: try key(3))
        #expect(code(enrolment.take(worker: "n-1", region: "", key: try key(1))) == .poolFull)
    }
}
