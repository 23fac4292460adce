package import ClusterModel
package import Training

/// What chunks of each class of tensors took on the wire between regions. A chunk that covers several
/// classes counts for each by its share of the elements.
package struct TensorClassTally: Sendable {
    private let tensors: [TensorSpec]
    /// In order of first appearance.
    package private(set) var uses: [RunEvent.TensorClassUse] = []

    package init(tensors: [TensorSpec]) { self.tensors = tensors }

    /// - Parameters:
    ///   - parts: ranges of the parameter vector that the chunk covers.
    ///   - bytes: its encoded size.
    package mutating func add(_ parts: [Range<Int>], bytes: Int) {
        let elements = parts.reduce(0) { $0 + $1.count }
        guard elements > 0 else { return }
        let bits = Double(bytes * 8) / Double(elements)
        for part in parts {
            var index = firstTensor(at: part.lowerBound)
            while index < tensors.count, tensors[index].range.lowerBound < part.upperBound {
                let count = tensors[index].range.clamped(to: part).count
                add(Self.name(tensors[index]), count, bits)
                index += 1
            }
        }
    }

    /// With what another of the same worker has counted.
    package func adding(_ other: TensorClassTally?) -> TensorClassTally {
        var sum = self
        for use in other?.uses ?? [] {
            if let place = sum.uses.firstIndex(where: { $0.name == use.name }) {
                sum.uses[place].values += use.values
                sum.uses[place].bits += use.bits
            } else {
                sum.uses.append(use)
            }
        }
        return sum
    }

    /// Experts are a class of their own: they are most of a model that has them.
    private static func name(_ tensor: TensorSpec) -> String {
        tensor.name.contains(".experts.") ? "expert" : tensor.kind.rawValue
    }

    private mutating func add(_ name: String, _ count: Int, _ bitsPerValue: Double) {
        guard count > 0 else { return }
        let bits = UInt64((Double(count) * bitsPerValue).rounded())
        if let place = uses.firstIndex(where: { $0.name == name }) {
            uses[place].values += UInt64(count)
            uses[place].bits += bits
        } else {
            uses.append(
                RunEvent.TensorClassUse(name: name, values: UInt64(count), bits: bits))
        }
    }

    /// The tensor that holds an element: tensors lie one after the other.
    private func firstTensor(at element: Int) -> Int {
        var low = 0
        var high = tensors.count
        while low < high {
            let middle = (low + high) / 2
            if tensors[middle].range.upperBound <= element {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }
}
