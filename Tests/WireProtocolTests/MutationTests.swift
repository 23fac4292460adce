import ClusterModel
import Testing
import WireProtocol

/// The decoder against damaged frames: it refuses, or what it accepts encodes to the same bytes.
struct MutationTests {
    private static let seed: UInt64 = 0x4C48_4C31
    private static let mutations = 20_000

    @Test func mutatedFramesAreRefusedOrReencodeToTheSameBytes() throws {
        let vectors = try ["control.json", "data.json"].flatMap(VectorFile.accepted)
        var generator = SeededGenerator(seed: Self.seed)
        var outcome = Outcome()
        for number in 0..<Self.mutations {
            let vector = vectors[Int(generator.integer(below: UInt64(vectors.count)))]
            var frame = vector.frame
            for _ in 0...generator.integer(below: 3) { mutate(&frame, &generator) }
            // Half of them with a right checksum, so that the damage reaches the field decoders.
            if generator.integer(below: 2) == 0 { reseal(&frame) }
            try check(frame, vector.limits, &outcome, "seed \(Self.seed), mutation \(number)")
        }
        // The test has to reach both ends: damage found by field decoders, and legal other values.
        #expect(outcome.accepted > 500)
        #expect(outcome.errors.count >= 18, "\(outcome.errors.sorted { $0.key < $1.key })")
        #expect(outcome.accepted + outcome.errors.values.reduce(0, +) == Self.mutations)
    }

    private struct Outcome {
        var accepted = 0
        var errors: [String: Int] = [:]
    }

    private func check(
        _ frame: [UInt8], _ limits: FrameLimits, _ outcome: inout Outcome, _ place: String
    ) throws {
        let decoded: Frame
        do {
            decoded = try FrameDecoder.decode(frame.span, limits: limits)
        } catch {
            outcome.errors[error.name, default: 0] += 1
            #expect(error.offset >= 0 && error.offset <= max(frame.count, 64), "\(place): \(error)")
            return
        }
        outcome.accepted += 1
        let again = try FrameEncoder.encode(
            header: decoded.header, message: decoded.message,
            payload: frame.span.extracting(decoded.payload))
        #expect(again == frame, "\(place)")
    }

    /// One change: a bit, a byte, an integer at its limits, bytes removed, repeated or appended.
    private func mutate(_ frame: inout [UInt8], _ generator: inout SeededGenerator) {
        guard !frame.isEmpty else { return }
        let at = Int(generator.integer(below: UInt64(frame.count)))
        switch generator.integer(below: 8) {
        case 0: frame[at] ^= 1 << UInt8(generator.integer(below: 8))
        case 1: frame[at] = UInt8(generator.integer(below: 256))
        case 2: frame[at] = [0, 1, 0x7F, 0x80, 0xFF][Int(generator.integer(below: 5))]
        case 3:
            let width = min(frame.count - at, 1 << Int(generator.integer(below: 4)))
            let fill: UInt8 = generator.integer(below: 2) == 0 ? 0 : 0xFF
            for index in at..<at + width { frame[index] = fill }
        case 4: frame.removeLast(Int(generator.integer(below: UInt64(frame.count))) / 4)
        case 5: frame.append(contentsOf: frame[at...].prefix(24))
        case 6: frame.remove(at: at)
        default:
            // A byte more or less in the fields, with the length to match.
            guard frame.count > 64, at >= 64 else { return }
            frame.insert(UInt8(generator.integer(below: 256)), at: at)
            frame[40] &+= 1
        }
    }

    private func reseal(_ frame: inout [UInt8]) {
        guard frame.count >= 64 else { return }
        for index in 56..<64 { frame[index] = 0 }
        let checksum = Checksum.xxh3(frame.span)
        for index in 0..<8 {
            frame[56 + index] = UInt8(truncatingIfNeeded: checksum >> UInt64(8 * index))
        }
    }
}
