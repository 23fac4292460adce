import ClusterModel
import NodeRuntime
import Testing
import Training

@Suite("What is said of spread experts") struct SpreadTextTests {
    private let workers = [0, 1, 2].map { WorkerID($0) }

    @Test("who computes what, what went with a worker, and what a placement came to")
    func texts() throws {
        var text = SpreadText(names: ["a", "b", "c"])
        let firstText = text.update(
            ExpertSpreadReport(holders: [[0, 1, 2, 2]]), members: workers, step: 1)
        let first = try #require(firstText)
        #expect(first.contains("a 1, b 1, c 2"))
        // Nothing is new where another region has changed.
        let same = text.update(
            ExpertSpreadReport(holders: [[0, 1, 2, 2]]), members: workers, step: 5)
        #expect(same == nil)
        let left = [workers[0], workers[1]]
        let lostText = text.update(
            ExpertSpreadReport(holders: [[0, 0, 1, 1]]), members: left, step: 9)
        let lost = try #require(lostText)
        #expect(lost.contains("before step 9: c is gone, which computed 2 of 4"))
        #expect(lost.contains("3 of 4 are computed elsewhere"))
        #expect(lost.contains("no weights are lost") && lost.contains("a 2, b 2"))
        let placement = ExpertSpreadReport.Placement(steps: 20, before: 1.5, after: 1.125)
        let movedText = text.update(
            ExpertSpreadReport(holders: [[0, 1, 0, 1]], placement: placement), members: left,
            step: 30)
        let moved = try #require(movedText)
        #expect(moved.contains("1.500 of the mean load, would have had 1.125"))
        #expect(moved.contains("2 of 4") && moved.contains("0 steps lost"))
        let aloneText = text.alone([workers[1]], step: 40)
        let alone = try #require(aloneText)
        #expect(alone.contains("a is gone") && alone.contains("one worker is left"))
        #expect(text.alone([workers[1]], step: 41) == nil)
    }

    @Test("where experts are kept by their holders: what moved, and what nobody brought")
    func kept() throws {
        var text = SpreadText(names: ["a", "b", "c"])
        _ = text.update(ExpertSpreadReport(holders: [[0, 1, 2, 2]]), members: workers, step: 1)
        let left = [workers[0], workers[1]]
        let moves = ExpertSpreadReport.Moves(
            valuesOfExpert: 250_000, nanoseconds: 4_200_000, lost: 1)
        let said = text.update(
            ExpertSpreadReport(holders: [[0, 0, 1, 1]], moves: moves), members: left, step: 9)
        let lost = try #require(said)
        #expect(lost.contains("what they have learnt since the last round"))
        // Of three that are elsewhere now, c's two have nobody to bring them.
        #expect(lost.contains("3 of 4 are computed elsewhere"))
        #expect(lost.contains("moved, 1 MB, in 4.2 ms"), "\(lost)")
        let mine = try #require(SpreadText.lost(moves, step: 9))
        #expect(mine.contains("1 expert held from step 9 on that nobody brings"))
        #expect(SpreadText.lost(nil, step: 9) == nil)
        let aloneText = text.alone([workers[1]], step: 40, moves)
        #expect(try #require(aloneText).contains("nobody brings"))
    }
}
