import RunRecord
import Testing

@Suite struct MeanIntervalTests {
    @Test func `few repetitions get Student's wide intervals`() throws {
        #expect(MeanInterval([]) == nil)
        let one = try #require(MeanInterval([3]))
        #expect(one.mean == 3 && one.halfWidth == nil)
        // s = sqrt 2, t = 12.706: 12.706.
        let two = try #require(MeanInterval([1, 3]))
        #expect(two.mean == 2)
        #expect(abs((two.halfWidth ?? 0) - 12.706) < 1e-9)
        // s = 1, t = 4.303 over sqrt 3.
        let three = try #require(MeanInterval([1, 2, 3]))
        #expect(abs((three.halfWidth ?? 0) - 4.303 / 3.0.squareRoot()) < 1e-9)
        #expect(try #require(MeanInterval([2, 2, 2])).halfWidth == 0)
    }
}
