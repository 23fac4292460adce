import ClusterModel
import Coordination

/// A pool exchange by formula. Each directed pair of regions carries its contributions and then its
/// means in at most `portions` transfers over the same link clock as the frames of the machines; a
/// portion of a mean is there when the same portion of every contribution has arrived and been reduced.
/// Inside a region a worker's network interface passes means on.
///
/// Left out: the credit of lanes, and the order in which frames of one portion are interleaved.
struct PoolExchange {
    /// What one region gets out of it, as virtual nanoseconds.
    struct Outcome {
        /// A worker's time encoding its part.
        var encoding: Int64 = 0
        /// The first byte of somebody else.
        var firstArrival = Int64.max
        /// Every position of the mean is there, at the last member.
        var complete: Int64 = 0
        /// The same for each member, in rank order.
        var arrivals: [Int64]
    }

    /// More portions describe a pipeline better and cost more; the work is regions^2 times this.
    static func portionLimit(regions: Int) -> Int { regions > 32 ? 8 : 64 }

    let shape: ExchangeShape
    let cost: CostModel
    /// Bytes of an ACKNOWLEDGE frame; each chunk is answered by one.
    let acknowledgement: Int
    private let portions: [Int]

    init(shape: ExchangeShape, cost: CostModel, acknowledgement: Int) {
        self.shape = shape
        self.cost = cost
        self.acknowledgement = acknowledgement
        let limit = Self.portionLimit(regions: shape.regions.count)
        portions = shape.regions.map { min(max(1, $0.chunks), limit) }
    }

    /// - Parameters:
    ///   - ready: by seat, when a worker's values are there.
    ///   - reducing: by region, how long it then takes to reduce its members' parts; nil: it contributes what
    ///     each of them holds.
    func run(ready: [Int64], reducing: [Int64?], over fabric: inout Fabric) -> [Outcome] {
        var outcomes = shape.regions.indices.map { place in
            let region = shape.regions[place]
            return Outcome(
                encoding: reducing[place] == nil ? encoding(region).total : 0,
                arrivals: Array(repeating: 0, count: region.seats.count))
        }
        var arrived = portions.map { [Int64](repeating: 0, count: $0) }
        for from in shape.regions.indices {
            contribute(from, ready, reducing[from], &arrived, &outcomes, &fabric)
        }
        var reduced = arrived
        for owner in shape.regions.indices where shape.regions[owner].chunks > 0 {
            // Of one region the parts make the mean, and are reduced already.
            if shape.regions.count == 1, reducing[owner] != nil { continue }
            let elements = shape.regions[owner].largestChunk
            let pass = cost.time(4 * elements * (shape.replicas + 1), at: cost.reduceRate)
            for portion in reduced[owner].indices { reduced[owner][portion] += pass }
        }
        for region in shape.regions.indices {
            receive(region, reduced, &outcomes[region], &fabric)
        }
        return outcomes
    }

    // MARK: Contributions

    /// Time a worker of `region` takes for its contribution to each region's slices, in slice order.
    private func encoding(_ region: ExchangeShape.Region) -> (parts: [Int64], total: Int64) {
        let sharers = shape.forwards ? region.seats.count : 1
        let parts = shape.regions.map { owner -> Int64 in
            let chunks = Int64((owner.chunks + sharers - 1) / sharers)
            let bytes = 4 * owner.elements / sharers
            return cost.time(bytes, at: cost.encodeRate) + (chunks - 1) * cost.overhead.nanoseconds
        }
        return (parts, parts.reduce(0, +))
    }

    private func contribute(
        _ from: Int, _ ready: [Int64], _ reducing: Int64?, _ arrived: inout [[Int64]],
        _ outcomes: inout [Outcome], _ fabric: inout Fabric
    ) {
        let source = shape.regions[from]
        // All slices of a position are reduced before the next position's.
        let parts =
            reducing.map { Array(repeating: $0, count: shape.regions.count) }
            ?? encoding(source).parts
        // Workers that are ready at the same time are one transfer.
        let seats = source.seats.sorted { (ready[$0], $0) < (ready[$1], $1) }
        var first = 0
        while first < seats.count {
            var next = first + 1
            while next < seats.count, ready[seats[next]] == ready[seats[first]] { next += 1 }
            var start = ready[seats[first]]
            let replicas = shape.forwards ? 1 : next - first
            for to in shape.regions.indices {
                send(
                    from, to, replicas: replicas, sender: seats[first], start: start,
                    encoding: parts[to], &arrived[to], &outcomes[to], &fabric)
                if reducing == nil { start += parts[to] }
            }
            first = shape.forwards ? seats.count : next
        }
    }

    private func send(
        _ from: Int, _ to: Int, replicas: Int, sender: Int, start: Int64, encoding: Int64,
        _ arrived: inout [Int64], _ outcome: inout Outcome, _ fabric: inout Fabric
    ) {
        let owner = shape.regions[to]
        let count = portions[to]
        // Acknowledgements of what comes the other way travel with it.
        let answers =
            acknowledgement * shape.regions[from].chunks * shape.regions[to].replicas
            * replicas / max(1, shape.regions[from].replicas)
        var bytes = owner.frameBytes * replicas + answers
        if from == to {
            // The owner's own part stays with it; a lone replica of a region needs no other.
            let others = owner.seats.count - 1
            bytes = shape.forwards ? 0 : owner.frameBytes * others / max(1, owner.seats.count)
        }
        for portion in 0..<count {
            let encoded = start + encoding * Int64(portion + 1) / Int64(count)
            var due = encoded
            let share = Self.share(bytes, portion, of: count)
            if share > 0 {
                due = fabric.deliver(
                    bytes: share, from: shape.regions[from].id, to: owner.id,
                    sender: .worker(sender), now: encoded, after: .min)
                outcome.firstArrival = min(outcome.firstArrival, due)
            }
            arrived[portion] = max(arrived[portion], due)
        }
    }

    // MARK: Means

    private func receive(
        _ region: Int, _ reduced: [[Int64]], _ outcome: inout Outcome, _ fabric: inout Fabric
    ) {
        let me = shape.regions[region]
        var due: [(at: Int64, bytes: Int, slice: Int)] = []
        for owner in shape.regions.indices {
            let source = shape.regions[owner]
            let count = portions[owner]
            let answers = acknowledgement * me.chunks * source.replicas
            for portion in 0..<count where source.chunks > 0 {
                var at = reduced[owner][portion]
                let bytes = Self.share(source.frameBytes, portion, of: count)
                if owner != region {
                    var whole = bytes * me.replicas + Self.share(answers, portion, of: count)
                    let isLast = portion == count - 1 && !shape.forwards
                    if isLast { whole -= source.lastFrameBytes * me.replicas }
                    at = fabric.deliver(
                        bytes: max(0, whole), from: source.id, to: me.id,
                        sender: .worker(source.seats[0]), now: at, after: .min)
                    if isLast {
                        at = spread(source, me, at: reduced[owner][portion], &outcome, &fabric)
                    }
                }
                outcome.complete = max(outcome.complete, at)
                if owner == region || shape.forwards {
                    due.append((at, bytes, portion * source.seats.count / count))
                }
            }
        }
        guard me.seats.count > 1 else { return raise(&outcome, to: outcome.complete) }
        var inside: Int64 = 0
        // Interfaces take them in the order in which they come.
        due.sort { ($0.at, $0.slice, $0.bytes) < ($1.at, $1.slice, $1.bytes) }
        for (at, bytes, slice) in due {
            let last = fabric.deliver(
                bytes: bytes * (me.seats.count - 1), from: me.id, to: me.id,
                sender: .worker(me.seats[slice % me.seats.count]), now: at, after: .min)
            inside = max(inside, last)
        }
        outcome.complete = max(outcome.complete, inside)
        raise(&outcome, to: shape.forwards ? outcome.complete : inside)
    }

    /// The last frame goes to one member after the other: on a slow link the first of them trains on
    /// while the others still wait.
    private func spread(
        _ source: ExchangeShape.Region, _ me: ExchangeShape.Region, at time: Int64,
        _ outcome: inout Outcome, _ fabric: inout Fabric
    ) -> Int64 {
        var last: Int64 = 0
        for member in me.seats.indices {
            last = fabric.deliver(
                bytes: source.lastFrameBytes, from: source.id, to: me.id,
                sender: .worker(source.seats[0]), now: time, after: .min)
            outcome.arrivals[member] = max(outcome.arrivals[member], last)
        }
        return last
    }

    private func raise(_ outcome: inout Outcome, to time: Int64) {
        for member in outcome.arrivals.indices {
            outcome.arrivals[member] = max(outcome.arrivals[member], time)
        }
    }

    /// Part `index` of `count` parts of a whole, which sum to it.
    private static func share(_ whole: Int, _ index: Int, of count: Int) -> Int {
        whole * (index + 1) / count - whole * index / count
    }
}
