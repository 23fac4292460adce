import ClusterModel
import RunRecord
import Testing

/// Experts of one region in summary, text and report.
struct CrossingSummaryTests {
    private func at(_ seconds: Int64, _ event: RunEvent) -> StampedEvent {
        StampedEvent(time: Instant(nanoseconds: seconds * 1_000_000_000), source: "w", event: event)
    }

    private func crossed(
        _ worker: Int, _ steps: UInt64, _ crossed: [UInt64], stayed: UInt64, changed: UInt64
    ) -> RunEvent {
        var count = RunEvent.TokensCrossed(regions: 2)
        (count.steps, count.tokens, count.crossed) = (steps, 100 * steps, crossed)
        (count.stayed, count.changed) = (stayed, changed)
        return .tokensCrossed(worker: WorkerID(worker), count)
    }

    private func owners(
        _ turn: UInt32, _ owners: [Int?], budgets: [TokenBudget] = []
    ) -> RunEvent {
        .expertOwners(
            RunEvent.ExpertOwners(
                turn: turn, owners: owners.map { $0.map { RegionID($0) } ?? .none },
                budgets: budgets))
    }

    private func run(_ events: [StampedEvent]) throws -> RunSummary {
        var run = SyntheticRun()
        run.model.experts = .init(count: 2, topK: 1, width: 8, crossing: .init())
        run.extra =
            [
                at(
                    3,
                    .expertUse(
                        worker: WorkerID(0), step: 10, [.init(shares: [0.75, 0.25], dropped: 0)]))
            ] + events
        return try RunSummary(events: run.events)
    }

    @Test func visitsAddUpOverWorkersAndTheirLives() throws {
        let summary = try run([
            at(
                3,
                owners(
                    1, [nil, 1, 0, nil],
                    budgets: [.init(from: RegionID(0), to: RegionID(1), tokens: 9)])),
            // Cumulative; fewer tokens than before: another life of the worker.
            at(4, crossed(0, 2, [0, 10], stayed: 5, changed: 6)),
            at(5, crossed(0, 4, [0, 20], stayed: 10, changed: 12)),
            at(6, crossed(0, 1, [0, 3], stayed: 1, changed: 1)),
            at(6, crossed(1, 3, [0, 7], stayed: 0, changed: 0)),
            at(6, crossed(2, 2, [40, 0], stayed: 9, changed: 9)),
            at(7, owners(2, [])),
        ])
        let crossing = try #require(summary.experts?.crossing)
        #expect(crossing.tokens == 1_000)
        #expect(crossing.flows.map(\.tokens) == [30, 40])
        #expect(crossing.flows.map(\.from) == ["shanghai", "jinan"])
        #expect(crossing.flows.map(\.to) == ["jinan", "shanghai"])
        #expect(crossing.crossed == 70 && crossing.stayed == 20 && crossing.changedChoices == 22)
        #expect(crossing.changes.map(\.moved) == [2, 2])
        #expect(crossing.changes[0].owned.map(\.experts) == [[2], [1]])
        #expect(
            crossing.changes[0].text
                == "of 4 experts one region alone computes shanghai 1, jinan 1, 2 otherwise than before; "
                + "tokens that may leave in a step: shanghai to jinan 9")
        #expect(crossing.changes[1].text.hasPrefix("every region computes all 4 experts"))
        let row = SummaryText.render(summary).split(separator: "\n").first {
            $0.contains("visits across")
        }
        for part in ["7.0 %", "2.0 % wanted to and stayed", "2 changes of owners"] {
            #expect(row?.contains(part) == true, "\(part) is missing in \(row ?? "")")
        }
        let page = HTMLReport.render(summary)
        for part in [
            "Experts of one region", "shanghai to jinan", "3.0 %", "wanted to leave and stayed",
        ] {
            #expect(page.contains(part), "\(part)")
        }
        // Rounds and tokens together are not what averaging sends.
        #expect(!page.contains("would send what this run sent"))
        #expect(try RunJSON.decode(RunJSON.encode(summary)) == summary)
    }

    @Test func withoutOwnersThereIsNothingToSay() throws {
        let summary = try run([])
        #expect(summary.experts != nil && summary.experts?.crossing == nil)
        let page = HTMLReport.render(summary)
        #expect(!page.contains("Experts of one region"))
        #expect(page.contains("would send what this run sent"))
        #expect(!SummaryText.render(summary).contains("visits across"))
    }
}
