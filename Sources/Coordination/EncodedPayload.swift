package import ClusterModel

/// An encoded chunk in the driver's pool, with what its frame must say about it.
package struct EncodedPayload: Codable, Equatable, Sendable {
    package var handle: PayloadHandle
    /// Encoded size.
    package var bytes: Int
    package var elements: UInt32
    package var transform: TransformID
    package var stage: StageID
    package init(
        handle: PayloadHandle, bytes: Int, elements: UInt32, transform: TransformID, stage: StageID
    ) {
        self.handle = handle
        self.bytes = bytes
        self.elements = elements
        self.transform = transform
        self.stage = stage
    }
}

/// Counts who inside a machine still refers to a payload, so that the driver is told once when nobody
/// does. Looked up by handle only; never iterated.
struct PayloadLedger: Sendable {
    struct Origin: Equatable, Sendable {
        var lane: LaneID
        /// Of the peer: a lane of its next life grants credit of its own.
        var incarnation: Incarnation
        var bytes: Int
        /// Of the lane over a detour, not of a connection.
        var isDetoured = false
    }
    private var counts: [PayloadHandle: Int] = [:]
    private var origins: [PayloadHandle: Origin] = [:]

    var isEmpty: Bool { counts.isEmpty }

    /// A payload that has just come from the driver: one reference.
    mutating func adopt(_ handle: PayloadHandle, from origin: Origin? = nil) {
        precondition(counts[handle] == nil, "payload handle used twice")
        counts[handle] = 1
        origins[handle] = origin
    }

    /// Where a payload that counted against nobody's credit so far comes from.
    mutating func assign(_ handle: PayloadHandle, to origin: Origin) {
        precondition(counts[handle] != nil && origins[handle] == nil, "a payload of two lanes")
        origins[handle] = origin
    }

    mutating func retain(_ handle: PayloadHandle, times: Int = 1) {
        precondition(counts[handle] != nil, "retains a payload that is gone")
        counts[handle, default: 0] += times
    }

    /// The lane whose credit comes back before the bytes do; once.
    mutating func settle(_ handle: PayloadHandle) -> Origin? {
        origins.removeValue(forKey: handle)
    }

    /// Whether that was the last reference, and the lane whose credit comes back.
    mutating func release(_ handle: PayloadHandle) -> (freed: Bool, origin: Origin?) {
        guard let count = counts[handle] else {
            preconditionFailure("releases a payload that is gone")
        }
        if count > 1 {
            counts[handle] = count - 1
            return (false, nil)
        }
        counts[handle] = nil
        return (true, origins.removeValue(forKey: handle))
    }
}
