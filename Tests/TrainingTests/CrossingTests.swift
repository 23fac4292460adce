import ExpertRouting
import Foundation
import Testing
import Training

@Suite("Experts of one region")
struct CrossingTests {
    private static let context = MemberModels.context
    /// Of two blocks: expert 1 of the first is region 0's, 2 and 3 are region 1's; of the second one each.
    private static let owners: [[Int?]] = [[nil, 0, 1, 1], [1, nil, nil, 0]]

    private static func shape(_ topK: Int, _ scoring: ExpertGate.Scoring) -> ExpertShape {
        ExpertShape(count: 4, topK: topK, width: 16, shared: 1, scoring: scoring)
    }

    /// Members by region, and how many tokens each may send to the other region.
    private func run(
        _ experts: ExpertShape, regions: [Int], batches: [Int], budget: Int, inputs: [UInt8],
        targets: [UInt8]
    ) throws -> (MemberModels, TokenRegion) {
        let pool = TokenRegion(regions.count)
        pool.crossings = regions.indices.map { me in
            let own = regions.indices.filter { regions[$0] == regions[me] }
            let place = own.firstIndex(of: me) ?? 0
            return TokenCrossing(
                owners: Self.owners, region: regions[me],
                servers: (0..<2).map { region in
                    guard region != regions[me] else { return nil }
                    let there = regions.indices.filter { regions[$0] == region }
                    return there[place % there.count]
                }, budgets: (0..<2).map { $0 == regions[me] ? 0 : budget })
        }
        let results = MemberModels(try batches.map { _ in try MemberModels.model(experts) })
        pool.run { me, members in
            guard let crossing = members.crossing else { return }
            results.pass(
                me, members, batches: batches,
                holders: crossing.owners.map { block in
                    block.map { owner in owner.flatMap { crossing.servers[$0] } ?? me }
                }, inputs: inputs, targets: targets)
        }
        return (results, pool)
    }

    @Test(
        "with budgets enough, losses and the pool's mean gradient are those of one worker",
        arguments: [[0, 1], [0, 0, 1], [0, 1, 1, 1]],
        [shape(2, .softmax), shape(1, .sigmoid)])
    func enough(regions: [Int], experts: ExpertShape) throws {
        let batches = [3, 1, 2, 1].prefix(regions.count).map { $0 }
        let sequences = batches.reduce(0, +)
        let inputs = randomBytes(sequences * Self.context, seed: 1)
        let targets = randomBytes(sequences * Self.context, seed: 2)
        let one = try MemberModels.model(experts)
        let loss = one.forwardBackward(inputs: inputs, targets: targets)
        let (results, pool) = try run(
            experts, regions: regions, batches: batches, budget: 10_000, inputs: inputs,
            targets: targets)
        var mean = [Float](repeating: 0, count: one.shape.parameterCount)
        var sum = 0.0
        for (me, batch) in batches.enumerated() {
            let share = Double(batch) / Double(sequences)
            sum += share * Double(results.losses[me])
            let own = results.models[me].gradient(0..<mean.count)
            for index in mean.indices { mean[index] += Float(share) * own[index] }
        }
        #expect(abs(sum - Double(loss)) < 1e-6 * Double(loss))
        #expect(pool.rows > 0)
        for tensor in one.shape.tensors {
            let expected = one.gradient(tensor.range)
            let distance = relativeDistance(Array(mean[tensor.range]), expected)
            #expect(norm(expected) < 1e-6 || distance < 2e-5, "\(tensor.name): \(distance)")
        }
        for (me, region) in regions.enumerated() {
            let counts = try #require(results.models[me].crossingCounts)
            #expect(counts.stayed == 0 && counts.changed == 0)
            #expect(counts.crossed[region] == 0 && counts.crossed[1 - region] > 0)
            let tokens = batches[me] * Self.context
            #expect(counts.wanted.reduce(0, +) == UInt32(2 * tokens * experts.topK))
            try checkElsewhere(results.models[me], region: region)
        }
    }

    /// Experts of another region have no gradient here; of its own some have, unless no token chose them.
    private func checkElsewhere(_ model: Transformer, region: Int) throws {
        var own = 0.0
        for (layer, owners) in Self.owners.enumerated() {
            for (expert, owner) in owners.enumerated() {
                let length = model.shape.tensors.filter {
                    $0.name.hasPrefix("blocks.\(layer).feed_forward.experts.\(expert).")
                }.reduce(0.0) { $0 + norm(model.gradient($1.range)) }
                if let owner, owner != region {
                    #expect(length == 0, "\(layer), \(expert)")
                } else {
                    own += length
                }
            }
        }
        #expect(own > 0)
    }

    @Test("without a budget nothing is sent, and gradients are those of the gate that is left")
    func none() throws {
        let experts = Self.shape(2, .softmax)
        let inputs = randomBytes(5 * Self.context, seed: 1)
        let targets = randomBytes(5 * Self.context, seed: 2)
        let (results, pool) = try run(
            experts, regions: [0, 1], batches: [3, 2], budget: 0, inputs: inputs,
            targets: targets)
        #expect(pool.rows == 0)
        let model = results.models[0]
        let counts = try #require(model.crossingCounts)
        #expect(counts.crossed == [0, 0] && counts.stayed > 10 && counts.changed >= counts.stayed)
        try checkElsewhere(model, region: 0)
        // Along the gradient the loss changes by its square.
        let all = 0..<model.shape.trainedCount
        let gradient = model.gradient(all)
        let square = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }
        var losses: [Double] = []
        for sign in [Float(1), -1] {
            let moved = try MemberModels.model(experts)
            let step = sign * Float(1e-3 / square.squareRoot())
            moved.withMutableParameters(all) { span in
                for index in span.indices { span[index] += step * gradient[index] }
            }
            losses.append(try alone(moved, inputs, targets, sequences: 3))
        }
        let slope = (losses[0] - losses[1]) / 2e-3
        #expect(abs(slope - square.squareRoot()) < 0.02 * square.squareRoot(), "\(slope)")
        let free = try MemberModels.model(experts).loss(
            inputs: Array(inputs[..<(3 * Self.context)]),
            targets: Array(targets[..<(3 * Self.context)]))
        #expect(abs(free - results.losses[0]) > 1e-4)
    }

    private func alone(
        _ model: Transformer, _ inputs: [UInt8], _ targets: [UInt8], sequences: Int
    ) throws -> Double {
        let pool = TokenRegion(1)
        pool.crossings = [
            TokenCrossing(
                owners: Self.owners, region: 0, servers: [nil, nil], budgets: [0, 0])
        ]
        let results = MemberModels([model])
        pool.run { _, members in
            let memory = results.models[0].makeSpreadMemory(
                members: 1, holders: Self.owners.map { $0.map { _ in 0 } })
            let range = 0..<sequences * Self.context
            do {
                results.losses[0] = try results.models[0].forwardBackward(
                    inputs: Array(inputs[range]), targets: Array(targets[range]),
                    memory: memory, members: members)
            } catch {
                Issue.record("interrupted")
            }
        }
        return Double(results.losses[0])
    }

    @Test("a budget lets so many tokens leave, spread over passes and blocks")
    func budget() throws {
        let experts = Self.shape(2, .softmax)
        let inputs = randomBytes(8 * Self.context, seed: 1)
        for budget in [1, 7, 20] {
            let (results, pool) = try run(
                experts, regions: [0, 1], batches: [4, 4], budget: budget, inputs: inputs,
                targets: inputs.reversed())
            var crossed = 0
            for region in 0..<2 {
                let counts = try #require(results.models[region].crossingCounts)
                // Parts at the end may have fewer tokens that want to leave than they might let go.
                #expect(counts.crossed[1 - region] <= budget)
                #expect(budget < 20 || counts.crossed[1 - region] >= budget / 2)
                #expect(counts.stayed > 0)
                crossed += counts.crossed[1 - region]
            }
            // There and back, forwards and backwards, twice.
            #expect(pool.rows == 2 * 4 * crossed)
        }
    }

    @Test("each part of a step may use its share and what earlier parts have left")
    func allowance() {
        var allowance = CrossingAllowance(budgets: [0, 5, 100], parts: 2)
        func taken(_ count: Int, _ targets: [Int], part: Int) -> Int {
            (0..<count).filter { _ in allowance.take(targets, part: part) }.count
        }
        #expect(taken(9, [1], part: 0) == 2)
        // Both or neither.
        #expect(taken(9, [1, 2], part: 0) == 0)
        #expect(taken(60, [2], part: 0) == 50)
        #expect(taken(9, [2, 1], part: 1) == 3)
        #expect(taken(9, [0], part: 1) == 0)
        #expect(taken(60, [2], part: 1) == 47)
    }
}
