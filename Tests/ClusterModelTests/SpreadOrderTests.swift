import ClusterModel
import Testing

/// The order in which a region lays the vector out where its members hold different experts, and what that
/// leaves to send.
@Suite struct SpreadOrderTests {
    private let blocks = [
        ExpertBlock(start: 50, each: 30, count: 8), ExpertBlock(start: 301, each: 30, count: 8),
    ]
    private let elements: UInt64 = 600

    @Test(arguments: 1...9)
    func `every element has one place, an expert's one after the other`(members: Int) {
        let order = ExpertHolders.order(elements: elements, blocks: blocks, members: members)
        let places = order.flatMap { Array($0) }
        #expect(places.sorted() == Array(0..<elements))
        for block in blocks {
            for expert in 0..<UInt64(block.count) {
                let start = block.start + expert * block.each
                let range = start..<start + block.each
                #expect(order.contains { $0.clamped(to: range) == range })
            }
        }
    }

    @Test func `without experts, and alone, it is the vector's own`() {
        #expect(ExpertHolders.order(elements: 600, blocks: [], members: 4) == [0..<600])
        #expect(ExpertHolders.order(elements: 600, blocks: blocks, members: 1) == [0..<600])
    }

    @Test(arguments: [2, 4, 8])
    func `a member of equally many holds what its slice has`(members: Int) {
        let order = ExpertHolders.order(elements: elements, blocks: blocks, members: members)
        let places = order.flatMap { Array($0) }
        for (number, block) in blocks.enumerated() {
            for expert in 0..<8 {
                let holder = ExpertHolders.holder(of: expert, experts: 8, members: members)
                let start = block.start + UInt64(expert) * block.each
                let first = UInt64(places.firstIndex(of: start) ?? 0)
                let slice =
                    UInt64(holder) * elements / UInt64(members)..<UInt64(holder + 1) * elements
                    / UInt64(members)
                #expect(
                    (first..<first + block.each).clamped(to: slice).count == 30,
                    "block \(number), expert \(expert) of \(members) members")
            }
        }
        // 480 elements are experts': nothing of them is contributed to another, and all of it comes back.
        let traffic = RegionTraffic(elements: elements, workers: members, spread: blocks)
        #expect(traffic.contributions == UInt64(members - 1) * 120)
        #expect(traffic.means == UInt64(members - 1) * 600)
    }

    @Test func `who holds more than its slice contributes the rest to its neighbour`() {
        // 3, 3 and 2 of 8 experts; slices of 200, and 40 of nobody's before each member's experts. The first
        // has 180 of experts from 40 on: 20 beyond 200. The second's begin at 260: 40 beyond 400.
        let traffic = RegionTraffic(elements: elements, workers: 3, spread: blocks)
        #expect(traffic.contributions == 2 * 120 + 20 + 40)
        // Where the vector is in its own order: of expert 0, 1, 2 ... of the first block, which begins at 50.
        let own = RegionTraffic(
            elements: elements, workers: 3, spread: blocks, ordersByHolder: false)
        #expect(own.contributions == 2 * 120 + 480 - own.kept(by: blocks, elements, 3))
        #expect(own.contributions > traffic.contributions)
    }
}

extension RegionTraffic {
    /// Elements that are contributed by who owns them, counted one by one.
    fileprivate func kept(
        by blocks: [ExpertBlock], _ elements: UInt64, _ members: UInt64
    ) -> UInt64 {
        var kept: UInt64 = 0
        for block in blocks {
            for place in 0..<block.each * UInt64(block.count) {
                let holder = place / block.each * members / UInt64(block.count)
                let slice = holder * elements / members..<(holder + 1) * elements / members
                if slice.contains(block.start + place) { kept += 1 }
            }
        }
        return kept
    }
}
