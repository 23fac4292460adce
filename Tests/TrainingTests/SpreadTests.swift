import ExpertRouting
import Foundation
import Testing
import Training

@Suite("Experts spread over a region")
struct SpreadTests {
    private static let context = MemberModels.context

    private struct Outcome {
        var loss: Double
        var gradient: [Float]
        var rows: Int
    }

    /// The weighted mean over members that have so many sequences each.
    private func spread(
        _ experts: ExpertShape, batches: [Int], inputs: [UInt8], targets: [UInt8]
    ) throws -> Outcome {
        let region = TokenRegion(batches.count)
        let holders = (0..<experts.count).map { $0 * batches.count / experts.count }
        let results = MemberModels(try batches.map { _ in try MemberModels.model(experts) })
        region.run { me, members in
            results.pass(
                me, members, batches: batches, holders: [holders, holders.reversed()],
                inputs: inputs, targets: targets)
        }
        let tokens = batches.reduce(0, +)
        var outcome = Outcome(loss: 0, gradient: [], rows: region.rows)
        for (me, batch) in batches.enumerated() {
            let share = Double(batch) / Double(tokens)
            outcome.loss += Double(results.losses[me]) * share
            let own = results.models[me].gradient(0..<results.models[me].shape.parameterCount)
            if outcome.gradient.isEmpty { outcome.gradient = own.map { _ in 0 } }
            for index in own.indices { outcome.gradient[index] += Float(share) * own[index] }
        }
        return outcome
    }

    @Test(
        "loss and every gradient are those of one worker with all tokens",
        arguments: ExpertTests.shapes, [[6], [3, 3], [5, 1], [2, 1, 3], [1, 2, 1, 2]])
    func equivalence(experts: ExpertShape, batches: [Int]) throws {
        let inputs = randomBytes(6 * Self.context, seed: 1)
        let targets = randomBytes(6 * Self.context, seed: 2)
        let one = try MemberModels.model(experts)
        let loss = one.forwardBackward(inputs: inputs, targets: targets)
        let whole = try spread(experts, batches: batches, inputs: inputs, targets: targets)
        #expect(abs(whole.loss - Double(loss)) < 1e-6 * Double(loss))
        for tensor in one.shape.tensors {
            let expected = one.gradient(tensor.range)
            let distance = relativeDistance(Array(whole.gradient[tensor.range]), expected)
            #expect(norm(expected) < 1e-6 || distance < 2e-5, "\(tensor.name): \(distance)")
        }
        #expect((whole.rows > 0) == (batches.count > 1))
    }

    @Test("a member's gradient of an expert that another holds is zero")
    func holders() throws {
        let experts = ExpertTests.shapes[0]
        let results = MemberModels(try (0..<2).map { _ in try MemberModels.model(experts) })
        TokenRegion(2).run { me, members in
            let memory = results.models[me].makeSpreadMemory(
                members: 2, holders: [[0, 0, 1, 1], [0, 1, 0, 1]])
            let bytes = randomBytes(3 * Self.context, seed: UInt64(me) + 5)
            do {
                results.losses[me] = try results.models[me].forwardBackward(
                    inputs: bytes, targets: bytes.reversed(), memory: memory, members: members)
            } catch {
                Issue.record("interrupted")
            }
        }
        var used = 0
        for (layer, held) in [(0, [2, 3]), (1, [1, 3])] {
            for expert in 0..<4 {
                for me in 0..<2 {
                    let model = results.models[me]
                    let length = model.shape.tensors.filter {
                        $0.name.hasPrefix("blocks.\(layer).feed_forward.experts.\(expert).")
                    }.reduce(0.0) { $0 + norm(model.gradient($1.range)) }
                    if held.contains(expert) == (me == 1) {
                        used += length > 0 ? 1 : 0
                    } else {
                        #expect(length == 0)
                    }
                }
            }
        }
        // An expert that no token chose has no gradient anywhere.
        #expect(used >= 5)
    }

    @Test("a step that is given up ends everywhere, and can be computed again")
    func interruption() throws {
        let experts = ExpertTests.shapes[0]
        let inputs = randomBytes(4 * Self.context, seed: 1)
        for end in [0, 1, 3] {
            let region = TokenRegion(2)
            region.endsAt = end
            let results = MemberModels(try (0..<2).map { _ in try MemberModels.model(experts) })
            region.run { me, members in
                let memory = results.models[me].makeSpreadMemory(
                    members: 2, holders: [[0, 0, 1, 1], [0, 0, 1, 1]])
                do {
                    _ = try results.models[me].forwardBackward(
                        inputs: inputs, targets: inputs, memory: memory, members: members)
                } catch {
                    results.losses[me] = -1
                }
            }
            #expect(results.losses == [-1, -1])
            // Alone, as if the other were gone: as a model that was never interrupted.
            let fresh = try MemberModels.model(experts)
            let expected = fresh.forwardBackward(inputs: inputs, targets: inputs)
            let loss = results.models[0].forwardBackward(inputs: inputs, targets: inputs)
            #expect(loss == expected)
        }
    }
}
