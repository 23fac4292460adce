import ClusterModel
import Coordination
import Testing

/// What is said of a wait, and how often.
@Suite struct WaitNoticeTests {
    private func wait(
        _ names: [String] = ["b"], activity: String = "round 1", since: Double = 10,
        until: Double? = nil
    ) -> WaitNotice.Wait {
        WaitNotice.Wait(
            activity: activity, names: names, since: .at(since), until: until.map { .at($0) },
            then: "go on")
    }

    /// Seconds at which something is said of `wait`, looked at once a second.
    private func told(
        _ notice: inout WaitNotice, from start: Int, to end: Int, patience: Int64 = 1,
        _ wait: (Int) -> WaitNotice.Wait?
    ) -> [(at: Int, event: RunEvent)] {
        (start...end).flatMap { second in
            notice.note(wait(second), by: "a", patience: .seconds(patience), .at(Double(second)))
                .map { (second, $0) }
        }
    }

    @Test func theSameIsSaidAtGrowingIntervalsAndOnceWhenItIsOver() {
        var notice = WaitNotice()
        let said = told(&notice, from: 10, to: 99) { $0 < 80 ? wait() : nil }
        // 1 after the beginning, then 2, 4, 8, 16 and never more than 16 later.
        #expect(said.map(\.at) == [11, 13, 17, 25, 41, 57, 73, 80])
        #expect(!notice.isOpen)
        #expect(
            said.last?.event
                == .waited(
                    observer: "a", activity: "round 1", names: ["b"], since: .at(10),
                    until: .at(80)))
        #expect(
            said.dropLast().allSatisfy {
                $0.event
                    == .waiting(
                        observer: "a", activity: "round 1", names: ["b"], since: .at(10),
                        until: nil, then: "go on")
            })
    }

    @Test func aWaitShorterThanThePatienceIsNotSaid() {
        var notice = WaitNotice()
        #expect(told(&notice, from: 10, to: 30, patience: 5) { $0 < 14 ? wait() : nil }.isEmpty)
    }

    /// A change is said when the patience has passed since the last word, and does not put off what is due.
    @Test func aChangeIsSaidBeforeItsTime() {
        var notice = WaitNotice()
        let said = told(&notice, from: 10, to: 40, patience: 4) { second in
            second < 19 ? wait(["b", "c"]) : wait(["c"], until: second < 30 ? nil : 60)
        }
        #expect(said.map(\.at) == [14, 19, 27, 31])
    }

    @Test func anotherActivityOrBeginningIsAnotherWait() {
        var notice = WaitNotice()
        let said = told(&notice, from: 10, to: 16, patience: 2) { second in
            second < 13 ? wait() : second < 16 ? wait(activity: "round 2", since: 13) : wait()
        }
        let ends = said.compactMap { at, event -> Int? in
            if case .waited = event { at } else { nil }
        }
        #expect(said.map(\.at) == [12, 13, 15, 16, 16])
        #expect(ends == [13, 16])
    }

    /// An observer that looks once a second says at 4 s what it could only say at 5.1 otherwise.
    @Test func whoLooksRarelyIsEarly() {
        var notice = WaitNotice()
        let early = notice.note(
            wait(), by: "a", patience: .seconds(5), early: .seconds(1), .at(14))
        #expect(early.count == 1)
    }

    // MARK: Where it is used

    private func texts(_ events: [RunEvent], _ activity: String) -> [String] {
        events.compactMap {
            switch $0 {
            case .waiting(_, activity, let names, _, _, _):
                "waits for \(names.joined(separator: ", "))"
            case .waited(_, activity, let names, let since, let until):
                "waited \(Int((until - since).seconds)) s for \(names.joined(separator: ", "))"
            default: nil
            }
        }
    }

    /// 13 s of silence with a patience of 1 s, said by the coordinator and by each who waits.
    @Test func aStoppedWorkerIsNotSaidEverySecond() {
        var configuration = Fixtures.configuration(steps: 4)
        configuration.deadlines.patience = .seconds(1)
        var cluster = TestCluster.started(configuration) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        cluster.stopped = [WorkerID(3)]
        cluster.holds = { _ in false }
        cluster.settle()
        cluster.advance(to: 14)
        cluster.stopped = []
        cluster.settle()
        cluster.advance(to: 16)
        #expect(cluster.coordinatorResult == .ok)
        let neighbour = texts(cluster.node(2).events, "gradients of step 3")
        #expect(neighbour.dropLast() == Array(repeating: "waits for west-2", count: 3)[...])
        #expect(
            ["waited 12 s for west-2", "waited 13 s for west-2"].contains(neighbour.last ?? ""),
            "\(neighbour)")
        let silence = texts(cluster.events, "a sign of life")
        #expect(silence.dropLast().allSatisfy { $0 == "waits for west-2" })
        #expect((3...4).contains(silence.count), "\(silence)")
        #expect(silence.last == "waited 13 s for west-2")
    }

    /// With a patience of a heartbeat every one of its neighbour looked like the end of an outage of the
    /// whole region, and forgave it its silence.
    @Test func whoIsSilentGoesWhateverThePatience() {
        for patience in [Interval.milliseconds(100), .seconds(1), .seconds(2)] {
            var configuration = Fixtures.configuration(steps: 4)
            configuration.deadlines.patience = patience
            var cluster = TestCluster.started(configuration) {
                if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
            }
            cluster.stopped = [WorkerID(3)]
            cluster.holds = { _ in false }
            cluster.settle()
            cluster.advance(to: 18)
            #expect(
                cluster.events.contains(
                    .workerEvicted(worker: WorkerID(3), name: "west-2", reason: "silent for 15 s")))
            #expect(cluster.coordinatorResult == .ok)
            #expect(!cluster.waited(for: "west-1", by: cluster.events))
        }
    }

    @Test func anEvictionEndsTheWait() {
        var cluster = TestCluster.started(Fixtures.configuration(steps: 8)) {
            if case .order(.compute(step: 3, samples: _)) = $0.content { true } else { false }
        }
        cluster.stopped = [WorkerID(3)]
        cluster.advance(to: 18)
        let silence = texts(cluster.events, "a sign of life")
        #expect(silence.count == 3 && silence.last?.hasPrefix("waited 15 s") == true, "\(silence)")
    }

    /// Under a patience of 1 s the coordinator looks for joiners once a second, and says so less often.
    @Test func missingWorkersAreSaidAtGrowingIntervals() {
        var configuration = Fixtures.configuration()
        configuration.deadlines.patience = .seconds(1)
        configuration.deadlines.gathering = .seconds(30)
        var cluster = TestCluster(configuration)
        for seat in 0..<3 { cluster.launch(seat) }
        cluster.settle()
        cluster.advance(to: 29)
        #expect(texts(cluster.events, "workers to join").count == 4)
        #expect(cluster.coordinator.phase == .gathering)
        cluster.advance(to: 34)
        #expect(cluster.coordinatorResult == .ok)
        #expect(texts(cluster.events, "workers to join").last == "waited 30 s for west-2")
    }
}
