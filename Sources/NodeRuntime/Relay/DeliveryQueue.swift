/// Something that reaches the far side of the link at an instant.
struct Delivery: Equatable {
    enum Kind: Equatable {
        /// So many bytes of the flow's channel.
        case data(Int)
        /// The source finished sending (FIN).
        case end
        /// The source is gone (RST).
        case reset
        /// The dialler's request to connect.
        case dial(SocksDestination)
        /// The answer to it.
        case reply(SocksHandshake.Reply)
    }

    let time: Int64
    /// Ties are broken in the order of sending.
    let sequence: UInt64
    let flow: UInt64
    /// The side it comes from.
    let source: RelaySide
    let kind: Kind
}

/// A binary heap of deliveries, earliest first. Bounded by the flows' segment limits.
struct DeliveryQueue {
    private var heap: [Delivery] = []
    private var sequence: UInt64 = 0

    init() {}

    /// The instant of the earliest delivery; `.max` when there is none.
    var earliest: Int64 { heap.first?.time ?? .max }

    mutating func add(_ time: Int64, _ flow: UInt64, from source: RelaySide, _ kind: Delivery.Kind)
    {
        sequence += 1
        heap.append(
            Delivery(time: time, sequence: sequence, flow: flow, source: source, kind: kind))
        var child = heap.count - 1
        while child > 0, before(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// Takes the earliest delivery if it is due.
    mutating func next(dueBy now: Int64) -> Delivery? {
        guard earliest <= now, let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && before(child, least) {
                least = child
            }
            guard least != parent else { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func before(_ left: Int, _ right: Int) -> Bool {
        (heap[left].time, heap[left].sequence) < (heap[right].time, heap[right].sequence)
    }
}
