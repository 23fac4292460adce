import ClusterModel

/// Bytes of one process, by handle. A payload is a small real tensor, a host's bytes, or only a size.
package struct PayloadPool {
    package enum Content: Equatable {
        case values([Float])
        /// Modelled: so many encoded bytes of unknown contents.
        case modelled(bytes: Int)
        /// Made by a host's codec.
        case encoded(EncodedBytes)

        var bytes: Int {
            switch self {
            case .values(let values): 4 * values.count
            case .modelled(let bytes): bytes
            case .encoded(let encoded): encoded.bytes.count
            }
        }
    }

    /// Looked up by handle only; never iterated.
    private var contents: [PayloadHandle: Content] = [:]
    private var issued: UInt64 = 0
    private(set) var bytes = 0
    private(set) var peakBytes = 0
    private(set) var peakCount = 0

    var count: Int { contents.count }

    /// Size of a chunk whose contents are not modelled, before any lossless stage.
    static func modelledBytes(_ transform: TransformID, _ elements: Int) -> Int {
        Int((transform.storedBytesPerValue * Double(elements)).rounded())
    }

    /// Each handle is given once in a process's life.
    mutating func store(_ content: Content) -> PayloadHandle {
        issued += 1
        let handle = PayloadHandle(rawValue: issued)
        contents[handle] = content
        bytes += content.bytes
        peakBytes = max(peakBytes, bytes)
        peakCount = max(peakCount, contents.count)
        return handle
    }

    func content(_ handle: PayloadHandle) -> Content? { contents[handle] }

    /// False for a handle that is not in the pool (released twice, or never given).
    mutating func release(_ handle: PayloadHandle) -> Bool {
        guard let content = contents.removeValue(forKey: handle) else { return false }
        bytes -= content.bytes
        return true
    }
}
