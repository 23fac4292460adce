import ClusterModel
import WireProtocol

/// What a trainer holds between two orders; the unit of saving and of state transfer.
struct TrainerState: Equatable, Sendable {
    var parameters: [Float]
    var outerCopy: [Float]
    var outerMomentum: [Float]
    var firstMoment: [Float]
    var secondMoment: [Float]
    var step: UInt32 = 0
    var round: UInt32 = 0
    /// Samples this seat has drawn.
    var samples: UInt64 = 0

    /// The same values on every seat of a run.
    init(elements: Int, seed: UInt64) {
        var generator = SeededGenerator(seed: seed ^ 0x7061_7261_6d65_7465)
        parameters = (0..<elements).map { _ in generator.uniform() - 0.5 }
        outerCopy = parameters
        outerMomentum = [Float](repeating: 0, count: elements)
        firstMoment = outerMomentum
        secondMoment = outerMomentum
    }

    subscript(item: StateItem) -> [Float] {
        get {
            switch item {
            case .index: []
            case .parameters: parameters
            case .outerCopy: outerCopy
            case .outerMomentum: outerMomentum
            case .firstMoment: firstMoment
            case .secondMoment: secondMoment
            }
        }
        set {
            switch item {
            case .index: break
            case .parameters: parameters = newValue
            case .outerCopy: outerCopy = newValue
            case .outerMomentum: outerMomentum = newValue
            case .firstMoment: firstMoment = newValue
            case .secondMoment: secondMoment = newValue
            }
        }
    }

    /// What was trained since the last outer step, and is in none.
    var hasRest: Bool { parameters != outerCopy }

    /// Digest of what all replicas share after an outer step.
    var outerDigest: UInt64 { Self.digest([outerCopy, outerMomentum]) }
    /// The same of one fragment.
    func outerDigest(of fragment: [ElementRange]) -> UInt64 {
        Self.digest(
            [outerCopy, outerMomentum].map { tensor in
                fragment.flatMap { tensor[Int($0.start)..<Int($0.start + $0.count)] }
            })
    }
    /// Digest of what the members of one replica share after an inner step, and everybody when
    /// gradients are shared.
    var innerDigest: UInt64 { Self.digest([parameters, firstMoment, secondMoment]) }

    static func digest(_ tensors: [[Float]]) -> UInt64 {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(tensors.reduce(0) { $0 + 4 * $1.count })
        for tensor in tensors { append(tensor, to: &bytes) }
        return Checksum.xxh3(bytes.span)
    }

    /// Little-endian IEEE 754.
    static func append(_ values: [Float], to bytes: inout [UInt8]) {
        for value in values {
            let bits = value.bitPattern
            bytes.append(UInt8(truncatingIfNeeded: bits))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 16))
            bytes.append(UInt8(truncatingIfNeeded: bits >> 24))
        }
    }

    static func values(of bytes: Span<UInt8>, in range: Range<Int>) -> [Float] {
        var values: [Float] = []
        values.reserveCapacity(range.count / 4)
        for start in stride(from: range.lowerBound, to: range.upperBound - 3, by: 4) {
            let bits =
                UInt32(bytes[start]) | UInt32(bytes[start + 1]) << 8
                | UInt32(bytes[start + 2]) << 16 | UInt32(bytes[start + 3]) << 24
            values.append(Float(bitPattern: bits))
        }
        return values
    }
}
