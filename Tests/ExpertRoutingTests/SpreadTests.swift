import ExpertRouting
import Testing

@Suite struct SpreadTests {
    private struct Batch {
        var choices: [Int32]
        var weights: [Float]
        var admitted: [Int32]
    }

    /// Every fifth choice is dropped.
    private func batch(_ tokens: Int, experts: Int, topK: Int) -> Batch {
        var noise = Noise(state: 7)
        let choices = (0..<tokens).flatMap { _ -> [Int32] in
            var left = Array(0..<Int32(experts))
            return (0..<topK).map { _ in
                left.remove(at: Int(abs(noise.next()) * 0.999 * Float(left.count)))
            }
        }
        return Batch(
            choices: choices, weights: choices.map { _ in abs(noise.next()) },
            admitted: choices.indices.map { $0 % 5 == 4 ? -1 : 0 })
    }

    @Test(arguments: [(1, 8, 2), (2, 8, 2), (3, 8, 3), (4, 9, 4)])
    func `a token travels once to each member with any of its experts`(
        members: Int, experts: Int, topK: Int
    ) {
        let (tokens, capacity) = (50, 64)
        let batch = batch(tokens, experts: experts, topK: topK)
        var plan = SpreadPlan(
            holders: (0..<experts).map { $0 * members / experts }, topK: topK, members: members,
            capacity: capacity)
        // The second build must not see the first.
        plan.build(batch.choices, admitted: nil, tokenCount: tokens / 2)
        plan.build(batch.choices, admitted: batch.admitted, tokenCount: tokens)
        for member in 0..<members {
            let wanted = (0..<tokens).filter { token in
                (token * topK..<(token + 1) * topK).contains {
                    batch.admitted[$0] >= 0 && plan.holders[Int(batch.choices[$0])] == member
                }
            }
            #expect(plan.sent[member] == wanted.map(Int32.init))
        }
        // Each answer is added once, to the token it is for, in the order of choices.
        var rows: Set<Int32> = []
        for token in 0..<tokens {
            var named: [Int] = []
            for slot in token * topK..<(token + 1) * topK {
                let holder = plan.holders[Int(batch.choices[slot])]
                let isNew = batch.admitted[slot] >= 0 && !named.contains(holder)
                #expect((plan.answers[slot] >= 0) == isNew)
                guard isNew else { continue }
                named.append(holder)
                #expect(rows.insert(plan.answers[slot]).inserted)
                let row = Int(plan.answers[slot])
                #expect(row / capacity == holder)
                #expect(plan.sent[holder][row % capacity] == Int32(token))
            }
        }
        #expect(rows.count == plan.sent.reduce(0) { $0 + $1.count })
    }

    @Test func `words name a member's own experts and all weights`() {
        var plan = SpreadPlan(holders: [0, 0, 1, 1], topK: 2, members: 2, capacity: 3)
        let choices: [Int32] = [0, 2, 1, 0, 3, 2]
        let weights: [Float] = [0.75, 0.25, 0.5, 0.5, 0.875, 0.125]
        plan.build(choices, admitted: [0, 0, 0, 0, 0, -1], tokenCount: 3)
        #expect(plan.sent == [[0, 1], [0, 2]])
        let absent = SpreadPlan.absent
        func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
        #expect(
            plan.words(to: 0, choices, weights, admitted: nil)
                == [0, absent] + bits([0.75, 0.25]) + [1, 0] + bits([0.5, 0.5]))
        #expect(
            plan.words(to: 1, choices, weights, admitted: [0, 0, 0, 0, 0, -1])
                == [absent, 2] + bits([0.75, 0.25]) + [3, absent] + bits([0.875, 0.125]))
        #expect(plan.answers == [0, 3, 1, -1, 4, -1])
    }
}
