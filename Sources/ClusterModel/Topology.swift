/// Where the workers are and how regions are connected. Validated by the reader of the cluster file.
package struct Topology: Codable, Equatable, Sendable {
    package var regions: [Region]
    package var links: [Link]
    /// The region the coordinator runs in: control traffic of other regions crosses the link too.
    package var coordinatorRegion: RegionID
    /// How workers of one region on one machine reach each other; nil: as everybody else.
    package var sameHost: SameHost?

    /// The emulated link of two regions is never left out, whatever this says.
    package enum SameHost: String, Codable, CaseIterable, Sendable {
        case tcp
        /// Unix sockets.
        case ipc
        /// The same, and frames are read where the sender has made them.
        case memory
    }

    package init(regions: [Region], links: [Link], coordinatorRegion: RegionID) {
        self.regions = regions
        self.links = links
        self.coordinatorRegion = coordinatorRegion
    }

    /// Workers with fast links among themselves.
    package struct Region: Codable, Equatable, Sendable {
        package var name: String
        package var workers: [Worker]
        /// What its workers draw samples from; nil: the whole text.
        package var text: TextPart?
        package init(name: String, workers: [Worker], text: TextPart? = nil) {
            self.name = name
            self.workers = workers
            self.text = text
        }
    }

    /// A part of the training text, in shares of it.
    package struct TextPart: Codable, Equatable, Sendable {
        package var from: Double
        package var to: Double
        package init(from: Double, to: Double) {
            self.from = from
            self.to = to
        }

        /// Of `count` samples in the text's order; neighbouring parts share none and lose none.
        package func samples(of count: Int) -> Range<Int> {
            let start = Int(from * Double(count))
            return start..<max(start, Int(to * Double(count)))
        }
    }

    package struct Worker: Codable, Equatable, Sendable {
        package var name: String
        /// Samples (sequences) this worker draws per inner step.
        package var microBatch: Int
        /// Emulated speed: an inner step ends at max(real, this). Zero = as fast as it goes.
        package var nominalStep: Interval
        /// What kind of machine it stands for.
        package var device: Device?
        /// Nobody can dial it (it is behind a translation of addresses): it dials the others.
        package var dialsOut: Bool?
        package init(
            name: String, microBatch: Int, nominalStep: Interval, device: Device? = nil
        ) {
            self.name = name
            self.microBatch = microBatch
            self.nominalStep = nominalStep
            self.device = device
        }

        /// Emulated time of a step with `samples` sequences: in proportion to them.
        package func nominalStep(samples: Int) -> Interval {
            guard samples != microBatch, microBatch > 0 else { return nominalStep }
            return Interval(
                seconds: nominalStep.seconds * Double(samples) / Double(microBatch))
        }
    }

    /// A wide-area connection between two regions. What stands in it directly is the direction from
    /// `a` to `b`, and the other one too where `reverse` is nil.
    package struct Link: Codable, Equatable, Sendable {
        package var a: RegionID
        package var b: RegionID
        /// Kilometres of fibre, for the report; the delay below is what is emulated.
        package var distanceKilometres: Double
        package var oneWayDelay: Interval
        /// Bits per second in each direction; 0 = not limited.
        package var rate: UInt64
        package var jitter: Interval
        /// Bytes that may wait in each direction before the sender is held back.
        package var queueBytes: Int
        /// Packets lost on the way; packet mode only.
        package var loss: LossParameters?
        /// The direction from `b` to `a`, where it differs.
        package var reverse: LinkParameters?
        /// No link of its own but a path over this region's two links; the parameters are those of
        /// the path.
        package var via: RegionID?
        /// Connections from each worker to each on the other side; nil: as the lanes' machine finds.
        package var lanes: UInt16?
        /// What happens on the link while it runs.
        package var changes: [LinkChange]?

        package init(
            a: RegionID, b: RegionID, distanceKilometres: Double, oneWayDelay: Interval,
            rate: UInt64, jitter: Interval, queueBytes: Int
        ) {
            self.a = a
            self.b = b
            self.distanceKilometres = distanceKilometres
            self.oneWayDelay = oneWayDelay
            self.rate = rate
            self.jitter = jitter
            self.queueBytes = queueBytes
        }

        /// What may wait on a link whose file does not say: one bandwidth-delay product of a round trip,
        /// the usual size of a router's buffer; more would let bulk data hold up heartbeats.
        package static func usualQueueBytes(rate: UInt64, oneWayDelay: Interval) -> Int {
            guard rate > 0 else { return queueBytesRange.upperBound / 64 }
            let product = Double(rate) / 8 * 2 * oneWayDelay.seconds
            let (least, most) = (queueBytesRange.lowerBound, queueBytesRange.upperBound)
            return Int(min(max(product, Double(least)), Double(most)).rounded())
        }

        /// What a file may say: one read of a socket must fit.
        package static let queueBytesRange = 65_536...(1 << 30)
    }

    /// Every worker with its region, in seat order: regions in file order, workers inside them.
    package var seats: [(id: WorkerID, region: RegionID, worker: Worker)] {
        var seats: [(id: WorkerID, region: RegionID, worker: Worker)] = []
        for (index, region) in regions.enumerated() {
            for worker in region.workers {
                seats.append((WorkerID(seats.count), RegionID(index), worker))
            }
        }
        return seats
    }

    /// Seats that only dial out, pair by pair, with the seat that passes on between them when everybody is
    /// there: of those that can be dialled the first of the lower one's region, else of the other's, else
    /// of all; nil where nobody can be dialled.
    package var relayedPairs: [(a: WorkerID, b: WorkerID, relay: WorkerID?)] {
        let hidden = seats.filter { $0.worker.dialsOut == true }
        let open = seats.filter { $0.worker.dialsOut != true }
        return hidden.enumerated().flatMap { place, a in
            hidden[(place + 1)...].map { b in
                let relay =
                    open.first { $0.region == a.region } ?? open.first { $0.region == b.region }
                    ?? open.first
                return (a.id, b.id, relay?.id)
            }
        }
    }

    package func region(named name: String) -> RegionID? {
        regions.firstIndex { $0.name == name }.map { RegionID($0) }
    }

    package func link(between a: RegionID, and b: RegionID) -> Link? {
        links.first { ($0.a == a && $0.b == b) || ($0.a == b && $0.b == a) }
    }
}

extension Topology {
    /// All links at this rate, in both directions.
    package mutating func setLinks(bitsPerSecond: UInt64) {
        for index in links.indices {
            links[index].rate = bitsPerSecond
            links[index].reverse?.bitsPerSecond = bitsPerSecond
        }
    }

    /// All links at this distance, with their own delay per kilometre (5 us where they give none).
    package mutating func setLinks(kilometres: Double) {
        for index in links.indices {
            let link = links[index]
            let perKilometre =
                link.distanceKilometres > 0
                ? link.oneWayDelay.seconds / link.distanceKilometres : 5e-6
            links[index].distanceKilometres = kilometres
            let delay = Interval(seconds: perKilometre * kilometres)
            links[index].oneWayDelay = delay
            links[index].reverse?.oneWayNanoseconds = delay.nanoseconds
        }
    }
}

extension Topology.Link {
    /// What bytes experience which leave `region`, one of the two ends.
    package func parameters(from region: RegionID) -> LinkParameters {
        if region == b, let reverse { return reverse }
        return LinkParameters(
            bitsPerSecond: rate, oneWayNanoseconds: oneWayDelay.nanoseconds,
            jitterNanoseconds: jitter.nanoseconds, queueLimitBytes: max(1, queueBytes), loss: loss)
    }

    /// What changes for them with time; nil when nothing does.
    package func schedule(from region: RegionID) -> LinkSchedule? {
        let changes = (changes ?? []).filter { $0.from == nil || $0.from == region }
        return LinkSchedule(changes, over: parameters(from: region))
    }

    /// Resets of its connections.
    package var resets: [LinkChange] { (changes ?? []).filter { $0.reset != nil } }

    /// The path between `a` and `b` over two links that meet in `via`; their resources stay shared
    /// with all other traffic of those links.
    package init(_ a: RegionID, _ first: Self, via: RegionID, _ second: Self, _ b: RegionID) {
        func join(_ x: LinkParameters, _ y: LinkParameters) -> LinkParameters {
            let rates = [x.bitsPerSecond, y.bitsPerSecond].filter { $0 > 0 }
            return LinkParameters(
                bitsPerSecond: rates.min() ?? 0,
                oneWayNanoseconds: x.oneWayNanoseconds + y.oneWayNanoseconds,
                jitterNanoseconds: x.jitterNanoseconds + y.jitterNanoseconds,
                queueLimitBytes: x.queueLimitBytes + y.queueLimitBytes)
        }
        let forth = join(first.parameters(from: a), second.parameters(from: via))
        let back = join(second.parameters(from: b), first.parameters(from: via))
        self.init(
            a: a, b: b, distanceKilometres: first.distanceKilometres + second.distanceKilometres,
            oneWayDelay: Interval(nanoseconds: forth.oneWayNanoseconds),
            rate: forth.bitsPerSecond, jitter: Interval(nanoseconds: forth.jitterNanoseconds),
            queueBytes: forth.queueLimitBytes)
        reverse = back == forth ? nil : back
        self.via = via
    }
}
