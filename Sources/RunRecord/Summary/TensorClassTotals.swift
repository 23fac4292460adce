internal import ClusterModel

/// Encoded bits and values by class of tensors, over all workers and lives.
struct TensorClassTotals {
    private struct Count {
        var values: UInt64 = 0
        var bits: UInt64 = 0
    }

    /// By class, in order of first appearance.
    private var totals: [(name: String, count: Count)] = []
    /// By worker and class: what its present life has said last.
    private var last: [WorkerID: [String: Count]] = [:]

    mutating func add(_ uses: [RunEvent.TensorClassUse], by worker: WorkerID) {
        for use in uses {
            let before = last[worker]?[use.name] ?? Count()
            // A process that started again counts from zero.
            let isSameLife = use.values >= before.values && use.bits >= before.bits
            let base = isSameLife ? before : Count()
            last[worker, default: [:]][use.name] = Count(values: use.values, bits: use.bits)
            let place =
                totals.firstIndex { $0.name == use.name }
                ?? {
                    totals.append((use.name, Count()))
                    return totals.count - 1
                }()
            let count = totals[place].count
            totals[place].count = Count(
                values: saturatingSum(count.values, use.values - base.values),
                bits: saturatingSum(count.bits, use.bits - base.bits))
        }
    }

    var figures: [RunSummary.TensorClass] {
        totals.filter { $0.count.values > 0 }.map {
            RunSummary.TensorClass(
                name: $0.name, values: $0.count.values,
                bitsPerValue: Double($0.count.bits) / Double($0.count.values))
        }
    }
}
