import ClusterModel
import Compression
import Reduction

/// One chunk decoder: a transform and a stage. Input: u16 elements - 1, then the payload.
///
/// Promises checked beside memory safety: the instruction sets agree on what is accepted and on every
/// bit, and neither depends on what the decoder has decoded before.
@safe
final class ChunkTarget {
    private let transform: TransformID
    private let stage: StageID
    private let fast = ChunkDecoder()
    private let slow = ChunkDecoder(kernels: BaselineKernels.self)
    private let left: UnsafeMutableRawBufferPointer
    private let right: UnsafeMutableRawBufferPointer
    private let dirt: [(bytes: [UInt8], stage: StageID)]
    private var runs = 0

    static var names: [String] { Codec.all.map(\.name) }

    init?(name: String) {
        guard let codec = Codec(name: name) else { return nil }
        transform = codec.transform
        stage = codec.stage
        let size = ChunkFormat.elementLimit * 4
        // SAFETY: two outputs of the largest chunk, kept for the life of the process.
        unsafe left = .allocate(byteCount: size, alignment: 64)
        unsafe right = .allocate(byteCount: size, alignment: 64)
        dirt = [StageID.zstd, .lz4Planes].map { stage in
            var bytes: [UInt8] = []
            let values = [Float](repeating: -1.2345e-6, count: ChunkFormat.elementLimit)
            let encoder = ChunkEncoder(choice: .always(stage))
            guard
                let extent = try? encoder.encode(
                    values.span, transform: .fp32, appendingTo: &bytes)
            else { preconditionFailure("the encoder refused equal values") }
            return (bytes, extent.stage)
        }
    }

    func run(_ input: UnsafeRawBufferPointer) {
        guard input.count >= 2 else { return }
        // SAFETY: both outputs hold the largest chunk; the payload is what follows two bytes.
        let elements = unsafe Int(input.loadUnaligned(as: UInt16.self)) + 1
        let payload = unsafe UnsafeRawBufferPointer(rebasing: input[2...])
        runs += 1
        if runs % 16 == 0 { soil() }
        let first = unsafe decode(fast, payload, elements, left)
        let second = unsafe decode(slow, payload, elements, right)
        precondition(first == second, "\(String(describing: first)), \(String(describing: second))")
        guard first == nil else { return }
        for index in 0..<(elements * 4) {
            precondition(unsafe left[index] == right[index], "byte \(index) differs")
        }
    }

    /// Leaves other bytes in the slow decoder's scratch memory.
    private func soil() {
        for chunk in dirt {
            // SAFETY: `right` holds the largest chunk.
            let error = unsafe chunk.bytes.withUnsafeBytes {
                unsafe decode(slow, $0, ChunkFormat.elementLimit, right, .fp32, chunk.stage)
            }
            precondition(error == nil, "a valid chunk was refused")
        }
    }

    private func decode(
        _ decoder: ChunkDecoder, _ payload: UnsafeRawBufferPointer, _ elements: Int,
        _ output: UnsafeMutableRawBufferPointer, _ other: TransformID? = nil,
        _ otherStage: StageID? = nil
    ) -> ChunkError? {
        // SAFETY: elements <= 65,536, which `output` holds.
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<(elements * 4)])
        do throws(ChunkError) {
            try unsafe decoder.decode(
                payload, transform: other ?? transform, stage: otherStage ?? stage, into: room)
            return nil
        } catch {
            return error
        }
    }
}
