import ClusterModel
import NodeRuntime
import Testing

@Suite("Frame buffers") struct FramePoolTests {
    @Test("a buffer that came back is given out again")
    func reuse() {
        let pool = FramePool()
        for round in 0..<100 {
            let buffers = (0..<8).map { _ in pool.take() }
            buffers[round % 8].withMutablePayload(4) { $0[0] = UInt8(round) }
            #expect(buffers[round % 8].withPayload(4) { $0[0] } == UInt8(round))
        }
        let counts = pool.counts
        #expect(counts.allocated == 8 && counts.taken == 800)
        #expect(counts.inUse == 0 && counts.peakInUse == 8)
    }

    @Test("contributions beyond the limit wait, but not for ever")
    func permits() {
        let pool = FramePool(contributions: 2)
        let held = [pool.takeForContribution(), pool.takeForContribution()]
        let third = pool.takeForContribution()
        #expect(pool.counts.inUse == 3)
        withExtendedLifetime((held, third)) {}
    }

    @Test("payloads keep their bytes and their buffer")
    func payload() {
        let pool = FramePool()
        do {
            let buffer = pool.take()
            buffer.withMutablePayload(3) { bytes in
                for index in 0..<3 { bytes[index] = UInt8(index + 1) }
            }
            let payload = PayloadBytes(
                pooled: buffer, count: 3, transform: .fp32, stage: .stored)
            #expect(payload.copiedBytes == [1, 2, 3] && payload.count == 3)
        }
        #expect(pool.counts.inUse == 0)
    }
}
