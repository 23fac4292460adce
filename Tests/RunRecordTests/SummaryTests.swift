import ClusterModel
import Foundation
import RunRecord
import Testing

/// Figures of a run, against what can be reckoned by hand from its events.
struct SummaryTests {
    private func isClose(_ a: Double?, _ b: Double) -> Bool {
        a.map { abs($0 - b) <= 1e-9 * max(1, abs(b)) } ?? false
    }

    @Test func headlineNumbersAreThoseOfTheEvents() throws {
        let run = SyntheticRun()
        let summary = try RunSummary(events: run.events)
        #expect(summary.pool.tokens == 122_880)
        #expect(isClose(summary.pool.trainingSeconds, run.trainingSeconds))
        #expect(isClose(summary.pool.tokensPerSecond, 122_880 / run.trainingSeconds))
        #expect(isClose(summary.pool.computeUtilisation, 12 / run.trainingSeconds))
        // Steps 2...31, of 0.2 s, and the first round between them.
        #expect(isClose(summary.pool.steadyComputeUtilisation, 6 / 6.225))
        #expect(isClose(summary.pool.steadyTokensPerSecond, 122_880 * 30 / 60 / 6.225))
        // Steps 51...60, mean 55.5; workers weighted 6, 4, 4, 2.
        #expect(isClose(summary.loss.finalTrainingLoss, 5 - 0.555 + 0.1 * 18 / 16))
        #expect(isClose(summary.loss.finalValidationLoss, 4.4))
        #expect(summary.loss.finalValidationStep == 60)
        #expect(summary.rounds.committed == 2)
        #expect(summary.rounds.latest.last?.digest == "0123456789ab0002")
        #expect(summary.rounds.conflicts.isEmpty)
        #expect(isClose(summary.rounds.secondsBetween, 30 * 0.2 + 0.225))
        #expect(summary.outcome.isComplete)
        #expect(summary.outcome.exitCode == 0)
        #expect(summary.identity.kernels == ["shanghai-1: AVX-512"])
    }

    /// On a full link a step is heard of up to 1.5 s late: it ended when the worker says.
    @Test func stepsEndWhenTheirWorkersSay() throws {
        var run = SyntheticRun()
        run.lateness = { $0.isMultiple(of: 31) ? 1_500_000_000 : 3_000_000 }
        let late = try RunSummary(events: run.events)
        #expect(isClose(late.pool.steadyTokensPerSecond, 122_880 * 30 / 60 / 6.225))
        #expect(isClose(late.pool.steadyComputeUtilisation, 6 / 6.225))
        // A time that cannot be is not taken: the worker's clock is another, or runs ahead.
        for wrong in [Instant(nanoseconds: -1), Instant(nanoseconds: .max)] {
            let events = run.events.map { stamped -> StampedEvent in
                guard case .stepped(let worker, 31, let loss, let tokens, _) = stamped.event else {
                    return stamped
                }
                return StampedEvent(
                    time: stamped.time, source: stamped.source,
                    event: .stepped(
                        worker: worker, step: 31, loss: loss, tokens: tokens, at: wrong))
            }
            let summary = try RunSummary(events: events)
            #expect(isClose(summary.pool.steadyComputeUtilisation, 6 / 7.725))
        }
    }

    @Test func regionsAndWorkersShareThePoolsFigures() throws {
        let run = SyntheticRun()
        let summary = try RunSummary(events: run.events)
        #expect(summary.regions.map(\.tokens) == [76_800, 46_080])
        #expect(summary.workers.map(\.tokens).reduce(0, +) == summary.pool.tokens)
        let rates = summary.regions.compactMap(\.tokensPerSecond).reduce(0, +)
        #expect(isClose(summary.pool.tokensPerSecond, rates))
        #expect(isClose(summary.regions[1].finalValidationLoss, 4.5))
        #expect(isClose(summary.workers[3].finalTrainingLoss, 5 - 0.555 + 0.3))
        #expect(summary.workers.allSatisfy { $0.state == "finished" })
        #expect(summary.counts.leavers == 0)
    }

    @Test func bytesAreCountedByRelayAndByLanes() throws {
        let run = SyntheticRun()
        let summary = try RunSummary(events: run.events)
        #expect(summary.pool.bytesBetweenRegionsRelay == 4 * SyntheticRun.relayBytesPerRound)
        #expect(summary.pool.bytesBetweenRegionsLanes == 4 * SyntheticRun.bytesPerRound)
        let link = try #require(summary.links.first)
        #expect(isClose(link.bitsPerValue, 8.125))
        #expect(link.seriesSource == "relay")
        #expect(isClose(link.meanUse, 8e6 / run.trainingSeconds / 20e6))
        #expect(isClose(summary.similarity.linkFill, 8e6 / (20e6 * run.trainingSeconds)))
        #expect(isClose(summary.similarity.roundTripPerStep, 0.15))
    }

    @Test func timeBudgetsSumToTheWallTime() throws {
        let summary = try RunSummary(events: SyntheticRun().events)
        for worker in summary.workers {
            let budget = try #require(worker.budget)
            let sum = budget.categories.reduce(0) { $0 + $1.seconds }
            #expect(isClose(sum + budget.residueSeconds, budget.wallSeconds))
            #expect(budget.isBalanced)
        }
        var run = SyntheticRun()
        var budget = run.budget(step: 60)
        budget.wall = budget.wall + .seconds(1)
        run.extra = [run.at(100_000_000_000, .budget(worker: WorkerID(0), budget))]
        let leaking = try #require(try RunSummary(events: run.events).workers[0].budget)
        #expect(isClose(leaking.residueSeconds, 1))
        #expect(!leaking.isBalanced)
    }

    @Test func anIncompleteLogIsReportedUpToWhereItStops() throws {
        var run = SyntheticRun()
        run.isComplete = false
        let events = run.events.prefix(200)
        let summary = try RunSummary(events: events)
        #expect(!summary.outcome.isComplete)
        #expect(summary.outcome.exitCode == nil)
        #expect(summary.outcome.reason.contains("without the run's end"))
        #expect(summary.pool.tokens > 0)
        #expect(summary.loss.finalTrainingLoss != nil)
    }

    @Test func aLogThatEndsBeforeTheFirstStepIsStillReported() throws {
        let summary = try RunSummary(events: SyntheticRun().events.prefix(3))
        #expect(summary.pool.tokens == 0)
        #expect(summary.pool.tokensPerSecond == nil)
        #expect(summary.loss.finalTrainingLoss == nil)
        #expect(summary.workers[3].state == "never joined")
        #expect(throws: RunSummaryError.noStart(events: 0)) {
            try RunSummary(events: [StampedEvent]())
        }
    }

    @Test func aStepTrainedAgainCountsOnce() throws {
        var run = SyntheticRun()
        run.extra = [
            run.at(
                90_000_000_000,
                .stepped(worker: WorkerID(0), step: 60, loss: 1, tokens: 768))
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.pool.tokens == 122_880)
        #expect(summary.pool.repeatedTokens == 768)
    }

    @Test func countersOfARestartedWorkerAddUp() throws {
        var run = SyntheticRun()
        let first = run.budget(step: 60)
        let second = run.budget(step: 5)
        run.extra = [
            run.at(
                60_000_000_000,
                .workerJoined(
                    worker: WorkerID(0), name: "shanghai-1", region: RegionID(0),
                    incarnation: Incarnation(rawValue: 2))),
            run.at(70_000_000_000, .budget(worker: WorkerID(0), second)),
            run.at(
                70_000_000_000,
                .traffic(
                    worker: WorkerID(0),
                    .init(
                        toRegion: RegionID(1), frames: 1, bytes: 1000, resent: 0, values: 1000,
                        encodedBytes: 900))),
        ]
        let summary = try RunSummary(events: run.events)
        let worker = summary.workers[0]
        #expect(worker.incarnations == 2)
        #expect(isClose(worker.budget?.wallSeconds, (first.wall + second.wall).seconds))
        let lanes = 2 * SyntheticRun.bytesPerRound + 1000
        #expect(summary.links.first?.laneBytes == lanes)
    }

    @Test func aRestartedCoordinatorsClockGoesOn() throws {
        let run = SyntheticRun(isComplete: false)
        let events = run.events + SyntheticRun().events
        let summary = try RunSummary(events: events)
        #expect(summary.identity.coordinatorStarts == 2)
        #expect(summary.outcome.isComplete)
        #expect(summary.pool.wallSeconds > 2 * run.trainingSeconds)
        #expect(summary.incidents.map(\.seconds) == summary.incidents.map(\.seconds).sorted())
        #expect(summary.pool.tokens == 122_880)
        #expect(summary.pool.repeatedTokens == 122_880)
    }

    @Test func nonsenseFromAWorkerSpoilsFiguresAndEndsNothing() throws {
        var run = SyntheticRun()
        var budget = RunEvent.TimeBudget()
        budget.wall = Interval(nanoseconds: .max)
        budget.compute = budget.wall
        budget.wait = budget.wall
        let worker = WorkerID(0)
        let traffic = RunEvent.Traffic(
            toRegion: RegionID(1), frames: .max, bytes: .max, resent: .max, values: .max,
            encodedBytes: .max)
        let far = Instant(nanoseconds: .max)
        run.extra = [
            run.at(9_000_000_000, .stepped(worker: worker, step: 1, loss: .nan, tokens: .max)),
            run.at(9_000_000_000, .stepped(worker: worker, step: .max, loss: 1, tokens: .max)),
            run.at(9_000_000_000, .stepped(worker: WorkerID(77), step: 1, loss: 1, tokens: 1)),
            run.at(9_000_000_000, .budget(worker: worker, budget)),
            run.at(9_100_000_000, .budget(worker: worker, RunEvent.TimeBudget())),
            run.at(9_200_000_000, .budget(worker: worker, budget)),
            run.at(9_000_000_000, .traffic(worker: worker, traffic)),
            run.at(
                9_000_000_000,
                .evaluated(worker: worker, step: .max, loss: .infinity, samples: .min)),
            run.at(
                9_000_000_000,
                .waiting(
                    observer: "w", activity: "a", names: [], since: far, until: far, then: "")),
            run.at(9_000_000_000, .coordinatorLost(worker: worker, since: far, until: far)),
        ]
        let summary = try RunSummary(events: run.events)
        #expect(summary.pool.tokens == .max)
        #expect(!HTMLReport.render(summary).isEmpty)
        #expect(!SummaryText.render(summary).isEmpty)
        var printer = ProgressPrinter(style: OutputStyle(isTerminal: false, environment: [:])) {
            _ in
        }
        for event in run.events { printer.consume(event) }
    }

    @Test func oneDigestPerRoundIsChecked() throws {
        var run = SyntheticRun()
        run.extra = [
            run.at(
                80_000_000_000,
                .roundCommitted(
                    key: .outer(fragment: FragmentID(0), round: 2), digest: 0xBAD, members: 4,
                    tokens: 1))
        ]
        let rounds = try RunSummary(events: run.events).rounds
        #expect(rounds.committed == 2)
        #expect(rounds.conflicts.count == 1)
        #expect(rounds.conflicts.first?.contains("0000000000000bad") == true)
    }

    @Test func aRelayThatCountsOnceAtTheEndLeavesTheCourseToTheLanes() throws {
        let run = SyntheticRun()
        let events = run.events.filter { event in
            guard case .linkUse(let use) = event.event else { return true }
            return use.bytes == 2 * SyntheticRun.relayBytesPerRound
        }
        let link = try #require(try RunSummary(events: events).links.first)
        #expect(link.relayBytes == 2 * SyntheticRun.relayBytesPerRound)
        #expect(link.seriesSource == "lanes")
        #expect(link.series.last?.bytes == 2 * SyntheticRun.bytesPerRound)
    }

    @Test func encodedSizesOfTensorClassesAddUpOverWorkersAndLives() throws {
        let use = { (time: Int64, worker: Int, values: UInt64, bits: UInt64) in
            StampedEvent(
                time: Instant(nanoseconds: time), source: "w",
                event: .codecUse(
                    worker: WorkerID(worker),
                    [
                        .init(name: "matrix", values: values, bits: bits),
                        .init(name: "norm", values: 10, bits: 330),
                    ]))
        }
        let run = SyntheticRun()
        // Worker 0 says 100, then 300; comes back and says 50. Worker 1 says 50.
        let said = [
            use(1, 0, 100, 800), use(2, 0, 300, 2_400), use(3, 0, 50, 400), use(4, 1, 50, 800),
        ]
        let classes = try RunSummary(events: run.events + said).tensorClasses
        #expect(classes.map(\.name) == ["matrix", "norm"])
        #expect(classes[0].values == 400)
        #expect(classes[0].bitsPerValue == 9)
        // Equal counts are the same life's: 10 of each worker.
        #expect(classes[1].values == 20)
        let text = SummaryText.render(try RunSummary(events: run.events + said))
        #expect(text.contains("bits/value of contributions: matrix 9"))
    }

    @Test func useOfExpertsIsTheMeanOverReplicasAndTheLaterSteps() throws {
        let run = SyntheticRun()
        #expect(try RunSummary(events: run.events).experts == nil)
        let said = [
            use(0, 10, [1, 0, 0, 0], dropped: 0.5), use(1, 10, [1, 0, 0, 0], dropped: 0.5),
            use(0, 20, [0.25, 0.25, 0.25, 0.25], dropped: 0.5),
            use(1, 20, [0.5, 0.5, 0, 0], dropped: 0.5),
        ]
        let summary = try RunSummary(events: run.events + said)
        let experts = try #require(summary.experts)
        #expect(experts.steps == 1 && experts.blocks.count == 1)
        #expect(experts.blocks[0].maxViolation == 0.5)
        #expect(experts.blocks[0].useEntropy == 0.75)
        #expect(experts.blocks[0].dropped == 0.5)
        #expect(experts.blocks[0].shares == [0.375, 0.375, 0.125, 0.125])
        #expect(experts.series.map(\.maxViolation) == [3, 0.5])
        #expect(SummaryText.render(summary).contains("experts' MaxVio"))
    }

    /// What a worker says of its one block of experts.
    private func use(
        _ worker: Int, _ step: UInt32, _ shares: [Double], dropped: Double = 0
    ) -> StampedEvent {
        StampedEvent(
            time: Instant(nanoseconds: Int64(step)), source: "w",
            event: .expertUse(
                worker: WorkerID(worker), step: step, [.init(shares: shares, dropped: dropped)]))
    }

    @Test func regionsStandBesideEachOther() throws {
        var run = SyntheticRun()
        run.model.experts = .init(count: 4, topK: 2, width: 8)
        // Seats 0 and 1 are one region, 2 and 3 the other; members of a replica say the same.
        let said = [
            use(0, 10, [0.5, 0.5, 0, 0]), use(1, 10, [0.5, 0.5, 0, 0]),
            use(2, 10, [0, 0, 0.5, 0.5]), use(3, 10, [0, 0, 0.5, 0.5]),
            use(0, 20, [0.5, 0.5, 0, 0]), use(2, 20, [0.5, 0, 0.5, 0]),
        ]
        let summary = try RunSummary(events: run.events + said)
        let experts = try #require(summary.experts)
        #expect(experts.heat.map(\.step) == [10, 20])
        #expect(
            experts.heat[0].regions.map(\.blocks) == [[[0.5, 0.5, 0, 0]], [[0, 0, 0.5, 0.5]]])
        #expect(experts.heat[0].regions.map(\.region) == summary.regions.map(\.name))
        #expect(experts.overlap.map(\.jaccard) == [0, 1.0 / 3])
        #expect(experts.overlap[0].jensenShannon == 1)
        #expect(abs(experts.overlap[1].jensenShannon - 0.5) < 1e-12)
        let traffic = try #require(experts.traffic)
        #expect(traffic.measured > 0)
        #expect(
            abs(
                traffic.computed.configured / traffic.measured - 1) < 1e-3)
        let page = HTMLReport.render(summary)
        #expect(page.contains("Load of experts over time") && page.contains("class=\"heat\""))
        #expect(SummaryText.render(summary).contains("routing overlap"))
        #expect(try RunJSON.decode(RunJSON.encode(summary)) == summary)
    }

    @Test func aReplicaCountsOnceAndARegionThatComesLateIsDrawn() throws {
        var run = SyntheticRun()
        run.model.experts = .init(count: 4, topK: 2, width: 8)
        // Two members of one region say MaxVio 1, the one of the other 3; before that it was not there.
        let said = [
            use(0, 10, [0.5, 0.5, 0, 0]), use(0, 20, [0.5, 0.5, 0, 0]),
            use(1, 20, [0.5, 0.5, 0, 0]), use(2, 20, [1, 0, 0, 0]),
        ]
        let summary = try RunSummary(events: run.events + said)
        let experts = try #require(summary.experts)
        #expect(experts.series.map(\.maxViolation) == [1, 2])
        #expect(experts.blocks[0].maxViolation == 2)
        #expect(experts.blocks[0].shares == [0.75, 0.25, 0, 0])
        let page = HTMLReport.render(summary)
        for region in summary.regions {
            #expect(
                page.contains("<text class=\"label\" x=\"")
                    && page.contains(">\(region.name)</text>"))
        }
        #expect(page.contains("<title>step 20, expert 0"))
        #expect(!page.contains("<title>step 10, expert 0"))
    }

    @Test func roundsThatLeaveExpertsOutAreSetAgainstPlainAveraging() throws {
        var run = SyntheticRun()
        run.model.experts = .init(count: 4, topK: 2, width: 8)
        let use = StampedEvent(
            time: .zero, source: "w",
            event: .expertUse(
                worker: WorkerID(0), step: 10, [.init(shares: [1, 0, 0, 0], dropped: 0)]))
        let exchanged = { (round: UInt32, elements: UInt64) in
            StampedEvent(
                time: .zero, source: "coordinator",
                event: .expertsExchanged(round: round, elements: elements, of: 100))
        }
        let plain = try #require(try RunSummary(events: run.events + [use]).experts?.traffic)
        #expect(plain.exchanged == nil && plain.plain == plain.measured)
        let events = run.events + [use, exchanged(1, 50), exchanged(2, 100)]
        let summary = try RunSummary(events: events)
        let rounds = Double(summary.rounds.committed)
        let traffic = try #require(summary.experts?.traffic)
        // One round of all of them had half.
        #expect(rounds >= 2)
        #expect(abs((traffic.exchanged ?? 0) - (rounds - 0.5) / rounds) < 1e-12)
        #expect(abs(traffic.plain * (rounds - 0.5) / rounds / traffic.measured - 1) < 1e-12)
        #expect(abs(traffic.computed.configured / traffic.plain - 1) < 1e-3)
        #expect(SummaryText.render(summary).contains("with all experts in every round"))
        #expect(HTMLReport.render(summary).contains("all experts in every round"))
    }

    @Test func whatWasPassedOnAddsUpOverTheLivesOfTheRelay() throws {
        let run = SyntheticRun()
        func passed(_ time: Int64, _ relay: Int, _ bytes: UInt64) -> StampedEvent {
            StampedEvent(
                time: Instant(nanoseconds: time), source: "w",
                event: .relayed(
                    worker: WorkerID(relay),
                    [.init(from: WorkerID(0), to: WorkerID(3), frames: bytes / 100, bytes: bytes)]))
        }
        // Worker 1 comes back and counts from zero; then worker 2 takes over.
        let said = [passed(1, 1, 500), passed(2, 1, 900), passed(3, 1, 200), passed(4, 2, 100)]
        let summary = try RunSummary(events: run.events + said)
        #expect(summary.relayed.map(\.bytes) == [1_100, 100])
        #expect(summary.relayed.map(\.frames) == [11, 1])
        #expect(summary.relayed.allSatisfy { $0.from == "shanghai-1" && $0.to == "jinan-2" })
        let text = SummaryText.render(summary)
        #expect(text.contains("relayed: shanghai-1 -> jinan-2 via shanghai-2, 1.1 kB"))
    }

    @Test func aStateTakenOverIsOnTheTimeLine() throws {
        let run = SyntheticRun()
        let taken = StampedEvent(
            time: Instant(nanoseconds: 5_000_000_000), source: "w",
            event: .stateTaken(
                RunEvent.StateTaken(
                    worker: WorkerID(3), step: 60, round: 2, took: .seconds(2),
                    resumedBytes: 1_000_000,
                    sources: [
                        .init(worker: WorkerID(0), bytes: 3_000_000),
                        .init(worker: WorkerID(2), bytes: 1_000_000),
                    ])))
        let incident = try #require(
            try RunSummary(events: run.events + [taken]).incidents.first {
                $0.kind == .stateTaken
            })
        for part in ["step 60, round 2", "2 MB/s", "shanghai-1 (3 MB)", "1 MB were in place"] {
            #expect(incident.text.contains(part), "\(part) is not in \(incident.text)")
        }
    }

    @Test func curvesAndSeriesOfALongRunAreBounded() throws {
        let run = SyntheticRun(steps: 6_000, syncEvery: 30, loss: { _, _ in 2 })
        let summary = try RunSummary(events: run.events)
        let curve = try #require(summary.loss.training.first)
        #expect(curve.points.count <= RunSummary.pointLimit)
        #expect(curve.points.last?.step == 6_000)
        #expect(curve.points.last?.tokens == summary.pool.tokens)
        #expect(curve.points.allSatisfy { $0.loss == 2 })
        for link in summary.links where !link.isInsideRegion {
            #expect(link.series.count <= RunSummary.pointLimit + 1)
            #expect(link.series.last?.bytes == link.relayBytes)
            #expect(link.series.map(\.seconds) == link.series.map(\.seconds).sorted())
        }
        #expect(summary.rounds.committed == 200)
    }

    @Test func theSameEventsGiveTheSameBytes() throws {
        let run = SyntheticRun()
        let first = try RunJSON.encode(RunSummary(events: run.events))
        let second = try RunJSON.encode(RunSummary(events: run.events))
        #expect(first == second)
    }

    @Test func runJSONReadsBackAndNamesItsUnits() throws {
        let folder = try TemporaryFolder()
        let summary = try RunSummary(events: SyntheticRun().events)
        try RunJSON.write(summary, to: folder.path("run.json"))
        let data = try Data(contentsOf: URL(fileURLWithPath: folder.path("run.json")))
        #expect(try RunJSON.decode(data) == summary)
        let text = String(decoding: data, as: UTF8.self)
        for key in [
            "compute_utilisation", "training_seconds", "bytes_between_regions_relay",
            "peak_bytes", "one_way_seconds", "rate_bits_per_second", "link_fill", "definitions",
        ] {
            #expect(text.contains("\"\(key)\""), "\(key) is missing")
        }
    }
}
