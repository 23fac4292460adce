import WireProtocol

/// The frame decoder of one plane. Input: the frame. It is also tried with a right checksum, which no
/// mutation would find, so that the field decoders see the damage.
///
/// Promise checked beside memory safety: what is accepted encodes to the same bytes.
struct FrameTarget {
    private let limits: FrameLimits

    static let names = ["frame-control", "frame-data"]

    init?(name: String) {
        switch name {
        case "frame-control": limits = .control
        case "frame-data": limits = .data
        default: return nil
        }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        var frame = unsafe Array(input)
        check(frame)
        guard frame.count >= 64 else { return }
        for index in 56..<64 { frame[index] = 0 }
        let checksum = Checksum.xxh3(frame.span)
        for index in 0..<8 {
            frame[56 + index] = UInt8(truncatingIfNeeded: checksum >> UInt64(8 * index))
        }
        check(frame)
    }

    private func check(_ frame: [UInt8]) {
        guard let decoded = try? FrameDecoder.decode(frame.span, limits: limits) else { return }
        let again = try? FrameEncoder.encode(
            header: decoded.header, message: decoded.message,
            payload: frame.span.extracting(decoded.payload))
        precondition(again == frame, "an accepted frame does not encode to the same bytes")
    }
}
