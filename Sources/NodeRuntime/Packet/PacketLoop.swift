internal import ClusterModel
internal import ZeroMQ

/// One direction of a link: its clock, its losses, and the packets on it.
final class PacketPath {
    let from: Int
    let to: Int
    var clock: LinkClock
    var loss: LossModel?
    let ring: PacketRing
    var report: RelayReport.Direction
    private var lastDelivery: Int64 = .min

    init(_ path: PacketConfiguration.Path, names: [String], seed: UInt64, origin: Int64) {
        from = path.from
        to = path.to
        clock = LinkClock(path.link, seed: seed, schedule: path.schedule, origin: origin)
        loss = path.link.loss.map { LossModel($0, seed: ~seed) }
        ring = PacketRing(bytes: PacketLimits.bytes(path.link, path.schedule))
        report = RelayReport.Direction(
            from: names[path.from], to: names[path.to], link: path.link)
        report.packetsLost = 0
        report.packetsDropped = 0
    }

    /// Takes packets at the near end, each for itself: dropped when the queue is full, as by a router,
    /// lost by the model's word after it took its time on the link, delivered otherwise. Packets never
    /// overtake one another, whatever the jitter. Those that came together and stay neighbours arrive
    /// together, at the time of the last.
    func take(_ packet: PacketBuffer, destination: Int, now: Int64) {
        var run = 0..<0
        for segment in 0..<packet.shape.count {
            let bytes = packet.shape.bytes(of: segment)
            guard let delivery = clock.offer(bytes: bytes, now: now, after: lastDelivery) else {
                report.packetsDropped = (report.packetsDropped ?? 0) + 1
                continue
            }
            report.bytesAccepted += UInt64(bytes)
            report.segments += 1
            if loss?.losesNext() == true {
                report.packetsLost = (report.packetsLost ?? 0) + 1
                continue
            }
            if run.upperBound < segment || run.isEmpty {
                append(packet, run, destination)
                run = segment..<segment
            }
            run = run.lowerBound..<segment + 1
            lastDelivery = delivery.deliver
        }
        append(packet, run, destination)
        report.peakQueueBytes = max(report.peakQueueBytes, clock.queuedBytes(at: now))
    }

    private func append(_ packet: PacketBuffer, _ segments: Range<Int>, _ destination: Int) {
        guard !segments.isEmpty,
            !ring.append(
                packet, segments: segments, destination: destination, deliver: lastDelivery)
        else { return }
        report.packetsDropped = (report.packetsDropped ?? 0) + UInt64(segments.count)
    }
}

/// The forwarder's thread: reads packets of every region's device, lets them cross their links, and
/// writes them to the other region's device.
final class PacketLoop {
    private let events: EventQueue
    private let devices: [TunDevice]
    let paths: [PacketPath]
    /// Index of the path from a region (row) to another (column); -1 where there is no link.
    private let route: [[Int]]
    private let packet = PacketBuffer()
    private var readable: [Bool]
    private var isStopping = false
    private let origin = MonotonicClock.now()
    private var nextReport: Int64
    private let publish: ([RelayReport.Direction], Double) -> Void
    private static let stop = UInt64.max - 1

    init(
        _ configuration: PacketConfiguration, devices: [TunDevice], stop: WakeUp,
        publish: @escaping ([RelayReport.Direction], Double) -> Void
    ) throws(RelayError) {
        events = try EventQueue()
        self.devices = devices
        self.publish = publish
        let start = origin
        var generator = SeededGenerator(seed: configuration.seed)
        var made: [PacketPath] = []
        var route = configuration.regions.map { _ in
            [Int](repeating: -1, count: configuration.regions.count)
        }
        for path in configuration.paths {
            route[path.from][path.to] = made.count
            made.append(
                PacketPath(
                    path, names: configuration.regions, seed: generator.next(), origin: start))
        }
        // The first link on the way; at its far end the packet is routed again.
        for transit in configuration.transits {
            route[transit.from][transit.to] = route[transit.from][transit.via]
        }
        paths = made
        self.route = route
        readable = devices.map { _ in false }
        nextReport = start + PacketLimits.reportInterval
        try events.add(stop.descriptor, id: Self.stop, edgeTriggered: false, writes: false)
        for (index, device) in devices.enumerated() {
            try events.add(
                device.descriptor, id: UInt64(index), edgeTriggered: true, writes: false)
        }
    }

    func run() {
        ThreadUrgency.raise(to: .emulating)
        while !isStopping {
            deliverDue()
            for index in devices.indices where readable[index] { drain(index) }
            let now = MonotonicClock.now()
            if now >= nextReport {
                nextReport = now + PacketLimits.reportInterval
                report(now)
            }
            let deadline = readable.contains(true) ? now : min(earliest, nextReport)
            events.wait(until: deadline, now: now) { event in
                if event.id == Self.stop {
                    isStopping = true
                } else {
                    readable[Int(event.id)] = true
                }
            }
        }
        report(MonotonicClock.now())
    }

    private var earliest: Int64 {
        paths.reduce(Int64.max) { min($0, $1.ring.earliest) }
    }

    private func report(_ now: Int64) {
        publish(
            paths.map { path in
                path.report.queueBytes = path.clock.queuedBytes(at: now)
                return path.report
            }, Double(now - origin) / 1e9)
    }

    private func drain(_ index: Int) {
        for _ in 0..<PacketLimits.packetsPerTurn {
            guard packet.read(from: devices[index]) else {
                readable[index] = false
                return
            }
            forward(from: index, now: MonotonicClock.now())
        }
    }

    private func forward(from region: Int, now: Int64) {
        guard let to = packet.shape.destination.flatMap({ PacketLimits.region(of: $0) }),
            devices.indices.contains(to), route[region][to] >= 0
        else { return }
        paths[route[region][to]].take(packet, destination: to, now: now)
    }

    private func deliverDue() {
        let now = MonotonicClock.now()
        for path in paths {
            while path.ring.earliest <= now {
                let lateness = now - path.ring.earliest
                if lateness > path.report.worstLatenessNanoseconds {
                    path.report.worstLatenessNanoseconds = lateness
                }
                let bytes = path.ring.first?.wireBytes ?? 0
                if let destination = path.ring.first?.destination, destination != path.to {
                    path.ring.moveFirst(to: packet)
                    path.report.bytesDelivered += UInt64(bytes)
                    if route[path.to][destination] >= 0 {
                        paths[route[path.to][destination]].take(
                            packet, destination: destination, now: now)
                    }
                    continue
                }
                if path.ring.deliverFirst(to: devices[path.to].descriptor) {
                    path.report.bytesDelivered += UInt64(bytes)
                }
            }
        }
    }
}
