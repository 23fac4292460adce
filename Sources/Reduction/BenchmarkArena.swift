import Glibc
import ReductionKernels

/// The memory of one kernel benchmark.
@safe
final class BenchmarkArena: @unchecked Sendable {
    // SAFETY of @unchecked Sendable: set up before and read-only during a pass; passes write
    // disjoint ranges.
    private let operation: ReduceOperation
    private let dtype: ElementKind
    private let sourceCount: Int
    private let elements: Int
    private var blocks: [UnsafeMutableRawBufferPointer] = unsafe []
    /// The fp32 values which sources and contributions are made from.
    private var sample: UnsafeMutableRawPointer
    /// The receiver's outer copy is the target; these are its momentum and its live parameters.
    private var state: [UnsafeMutableRawPointer] = unsafe []
    private var sources: [KernelSource] = unsafe []
    private var target: KernelTarget

    /// Elements which one thread takes at a time: a chunk.
    private static let chunk = 65_536

    init(operation: ReduceOperation, dtype: ElementKind, sources: Int, elements: Int) {
        self.operation = operation
        self.dtype = dtype
        self.elements = elements
        sourceCount = operation == .sum || operation == .fused ? sources : 1
        let targetKind = operation == .fused || operation == .quantise ? dtype : .fp32
        // SAFETY: freed in deinit; every operand covers `elements`.
        let placeholder = UnsafeMutableRawPointer.allocate(byteCount: 4, alignment: 4)
        unsafe target = KernelTarget(values: placeholder, scales: placeholder, kind: .fp32)
        unsafe sample = placeholder
        unsafe placeholder.deallocate()
        unsafe sample = allocate(elements * 4)
        unsafe fill(sample)
        for index in 0..<sourceCount {
            let values = unsafe allocate(dtype.valueBytes(elements))
            let scales = unsafe allocate(dtype.scaleBytes(elements))
            unsafe BaselineKernels.encode(
                sample, count: elements,
                into: KernelTarget(values: values, scales: scales, kind: dtype))
            unsafe self.sources.append(
                KernelSource(
                    values: UnsafeRawPointer(values), scales: UnsafeRawPointer(scales),
                    factor: index == 0 ? 0.25 : 0.125, kind: dtype))
        }
        unsafe target = KernelTarget(
            values: allocate(targetKind.valueBytes(elements)),
            scales: allocate(targetKind.scaleBytes(elements)), kind: targetKind)
        if operation == .apply { for _ in 0..<2 { unsafe state.append(allocate(elements * 4)) } }
    }

    deinit {
        // SAFETY: mapped in `allocate`.
        for index in unsafe blocks.indices {
            unsafe munmap(blocks[index].baseAddress, blocks[index].count)
        }
    }

    /// Touched memory at a multiple of 2 MiB, in huge pages where the kernel gives them (as numpy asks
    /// for). `docs/benchmarks/reduce_peers.py` gives the peers the same.
    private func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        // Buffers at equal offsets in their pages would all compete for the same sets of the
        // nearest cache; messages as they arrive do not lie like that.
        let stagger = unsafe blocks.count % 13 * 320
        let hugePage = 1 << 21
        let size = (max(byteCount, 1) + stagger + 4_095) & ~4_095 + hugePage
        // SAFETY: an anonymous private mapping; the result is checked.
        let mapped = unsafe mmap(
            nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            fatalError("benchmark: no memory for \(size) bytes")
        }
        unsafe madvise(mapped, size, 14)
        unsafe memset(mapped, 0, size)
        unsafe blocks.append(UnsafeMutableRawBufferPointer(start: mapped, count: size))
        let past = Int(bitPattern: mapped) & (hugePage - 1)
        return unsafe mapped + (hugePage - past) + stagger
    }

    private func fill(_ base: UnsafeMutableRawPointer) {
        var state: UInt32 = 1
        for index in 0..<elements {
            state = state &* 1_664_525 &+ 1_013_904_223
            let value = (Float(state >> 8) / 16_777_216 - 0.5) * 1e-6
            // SAFETY: the buffer holds `elements` floats.
            unsafe base.storeBytes(of: value, toByteOffset: index * 4, as: Float.self)
        }
    }

    /// `times` passes over all elements, each by one thread or by the pool.
    func run(_ kernels: any KernelSet.Type, _ pool: KernelPool?, times: Int) {
        guard let pool else {
            // SAFETY: the operands cover `elements`.
            unsafe pass(kernels, sources, target, 0, elements, times)
            return
        }
        for _ in 0..<times {
            pool.run((elements + Self.chunk - 1) / Self.chunk) { [self] index in
                let start = index * Self.chunk
                part(kernels, start, min(Self.chunk, elements - start))
            }
        }
    }

    /// One pass over one chunk.
    private func part(_ kernels: any KernelSet.Type, _ start: Int, _ count: Int) {
        // SAFETY: start + count <= elements, and start is a multiple of a block.
        let target = unsafe KernelTarget(
            values: target.values + target.kind.valueBytes(start),
            scales: target.scales + target.kind.scaleBytes(start), kind: target.kind)
        let moved = unsafe sources.map { source in
            unsafe KernelSource(
                values: source.values + source.kind.valueBytes(start),
                scales: source.scales + source.kind.scaleBytes(start),
                factor: source.factor, kind: source.kind)
        }
        unsafe pass(kernels, moved, target, start, count, 1)
    }

    private func pass(
        _ kernels: any KernelSet.Type, _ sources: [KernelSource], _ target: KernelTarget,
        _ start: Int, _ count: Int, _ times: Int
    ) {
        let step = OuterStep(learningRate: 0.7, momentum: 0.9, alpha: 0.5)
        // SAFETY: as in the callers; `state` holds `elements` floats each.
        switch operation {
        case .sum where sourceCount == 2 && dtype == .fp32:
            let accumulator = unsafe UnsafeMutableRawPointer(mutating: sources[0].values)
            let source = unsafe sources[1].values
            for _ in 0..<times { unsafe kernels.accumulate(accumulator, source, count: count) }
        case .sum, .fused:
            for _ in 0..<times {
                _ = unsafe kernels.reduce(
                    sources, sourceCount: sourceCount, count: count, into: target)
            }
        case .apply:
            for _ in 0..<times {
                _ = unsafe kernels.apply(
                    sources[0], count: count, step: step, outer: target.values,
                    momentum: state[0] + start * 4, live: state[1] + start * 4)
            }
        case .quantise:
            for _ in 0..<times {
                unsafe kernels.encode(sample + start * 4, count: count, into: target)
            }
        case .dequantise:
            for _ in 0..<times {
                unsafe kernels.decode(sources[0], count: count, into: target.values)
            }
        }
    }

    /// Bytes moved by one pass, and the formula in words.
    var traffic: (bytes: Int, formula: String) {
        let encoded = dtype.valueBytes(elements) + dtype.scaleBytes(elements)
        return switch operation {
        case .sum where sourceCount == 2 && dtype == .fp32:
            (elements * 12, "2 reads + 1 write of fp32, in place")
        case .sum:
            (
                sourceCount * encoded + elements * 4,
                "\(sourceCount) encoded reads + 1 write of fp32"
            )
        case .fused:
            ((sourceCount + 1) * encoded, "\(sourceCount) encoded reads + 1 encoded write")
        case .apply:
            (
                encoded + elements * 24,
                "1 encoded read + reads and writes of outer copy, momentum, live"
            )
        case .quantise: (elements * 4 + encoded, "1 read of fp32 + 1 encoded write")
        case .dequantise: (elements * 4 + encoded, "1 encoded read + 1 write of fp32")
        }
    }
}
