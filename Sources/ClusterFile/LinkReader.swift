internal import ClusterModel
internal import Yams

/// Links between regions: all pairs are described, or none (then nothing is emulated).
extension FileReader {
    static let linkKeys = [
        "between", "distance", "one_way", "rtt", "rate", "jitter", "queue", "loss", "loss_burst",
        "from", "schedule", "via", "lanes",
    ]
    static let linkExample =
        "- {between: [shanghai, jinan], distance: 1500 km, rate: 200 Mbit/s}"

    /// Light in fibre, as a planner reckons: 5 us per kilometre.
    private static let nanosecondsPerKilometre = 5_000.0
    /// Nothing in fibre is faster than this.
    private static let leastNanosecondsPerKilometre = 4_900.0

    func readLinks(
        _ top: Section, regions: [Topology.Region], emulation: Emulation
    ) -> [Topology.Link]? {
        guard top.line(of: "links") != nil else { return [] }
        guard let items = top.items("links", of: "links", example: Self.linkExample) else {
            return nil
        }
        var links: [Topology.Link] = []
        var complete = true
        var paths: [Section] = []
        for item in items {
            guard
                let section = Section(
                    item.node, path: item.path, line: item.line, keys: Self.linkKeys,
                    issues: issues)
            else {
                complete = false
                continue
            }
            if section.line(of: "via") != nil {
                paths.append(section)
                continue
            }
            guard var link = readLink(section, regions: regions) else {
                complete = false
                continue
            }
            if links.contains(where: { $0.a == link.a && $0.b == link.b }) {
                section.refuse(
                    "between", "this pair of regions has a link already",
                    expected: "one link for each pair", example: Self.linkExample)
                complete = false
            }
            readDetails(section, of: &link, regions: regions, emulation: emulation)
            links.append(link)
        }
        for section in paths {
            guard let path = readPath(section, over: links, regions: regions) else {
                complete = false
                continue
            }
            links.append(path)
        }
        guard complete, checkPairs(top, links: links, regions: regions) else { return nil }
        return links
    }

    private func checkPairs(
        _ top: Section, links: [Topology.Link], regions: [Topology.Region]
    ) -> Bool {
        var missing: [String] = []
        for a in regions.indices {
            for b in regions.indices where b > a {
                if links.contains(where: { $0.a == RegionID(a) && $0.b == RegionID(b) }) {
                    continue
                }
                missing.append("\(regions[a].name) - \(regions[b].name)")
            }
        }
        guard !missing.isEmpty || regions.count == 1 else { return true }
        if regions.count == 1 {
            top.refuse(
                "links", "links with one region would do nothing", expected: "no `links`",
                example: "remove `links`, or add a second region")
        } else {
            top.refuse(
                "links", "no link for " + missing.prefix(4).joined(separator: ", "),
                expected: "a link for each pair of regions, or no `links` at all (a real network, "
                    + "nothing emulated)", example: Self.linkExample)
        }
        return false
    }

    private func readLink(_ section: Section, regions: [Topology.Region]) -> Topology.Link? {
        let ends = readEnds(section, regions: regions)
        let distance = section.value(.kilometres("distance"))
        let delay = readDelay(section, distance: distance)
        let rate = section.required(.bitRate("rate"))
        let jitter = section.value(
            .duration(
                "jitter", of: "the largest extra delay", example: "1 ms", zeroAllowed: true))
        let queue = section.value(Self.queueField)
        if let delay, let jitter, jitter > delay {
            section.refuse(
                "jitter",
                "the jitter is longer than the delay of \(Figures.duration(delay.seconds))",
                expected: "a jitter of at most the one-way delay", example: "jitter: 1 ms")
        }
        let lanes = section.value(
            .count(
                "lanes", 1...Limits.lanesMost,
                of: "connections from each worker to each on the other side", example: 4))
        guard let ends, let delay, let rate else { return nil }
        var link = Topology.Link(
            a: ends.a, b: ends.b, distanceKilometres: distance ?? 0, oneWayDelay: delay,
            rate: rate, jitter: jitter ?? .zero,
            queueBytes: queue
                ?? Topology.Link.usualQueueBytes(rate: rate, oneWayDelay: delay))
        link.lanes = lanes.map { UInt16($0) }
        return link
    }

    static var queueField: Field<Int> {
        Field(
            key: "queue",
            expected: "bytes that may wait in each direction with their unit (KiB, MiB, kB, MB), "
                + "from 64 KiB to 1 GiB",
            example: "256 KiB"
        ) { text in
            let range = Topology.Link.queueBytesRange
            return Quantity.parse(text, units: Quantity.bytes)
                .flatMap { Int(exactly: $0.rounded()) }
                .flatMap { range.contains($0) ? $0 : nil }
        }
    }

    func readEnds(
        _ section: Section, regions: [Topology.Region]
    ) -> (a: RegionID, b: RegionID)? {
        let names = regions.map(\.name).joined(separator: ", ")
        func refuse(_ problem: String) {
            section.refuse(
                "between", problem, expected: "two different regions of this file: \(names)",
                example: "between: [\(regions.prefix(2).map(\.name).joined(separator: ", "))]")
        }
        guard section.line(of: "between") != nil else {
            refuse("`between` is missing")
            return nil
        }
        guard
            let items = section.items("between", of: "two regions", example: Self.linkExample)
        else { return nil }
        let written = items.map { $0.node.scalar?.string ?? "" }
        guard written.count == 2, written[0] != written[1] else {
            refuse("found \(written.isEmpty ? "nothing" : written.joined(separator: ", "))")
            return nil
        }
        let ends = written.map { name in regions.firstIndex { $0.name == name } }
        for (name, end) in zip(written, ends) where end == nil {
            let nearest = NearestKey.suggestion(for: name, among: regions.map(\.name))
            refuse(
                "there is no region `\(name)`" + (nearest.map { "; did you mean `\($0)`?" } ?? ""))
        }
        guard let first = ends[0], let second = ends[1] else { return nil }
        return (RegionID(min(first, second)), RegionID(max(first, second)))
    }

    private func readDelay(_ section: Section, distance: Double?) -> Interval? {
        let oneWay = section.value(
            .duration("one_way", of: "the delay in one direction", example: "15 ms"))
        let roundTrip = section.value(
            .duration("rtt", of: "the delay there and back", example: "30 ms"))
        let given = ["one_way", "rtt"].filter { section.line(of: $0) != nil }
        if given.count == 2 {
            section.refuse(
                "rtt", "`one_way` and `rtt` say the same thing twice",
                expected: "one of `one_way` and `rtt`", example: "one_way: 15 ms")
            return nil
        }
        if given.isEmpty {
            if section.line(of: "distance") == nil {
                section.refuse(
                    "distance", "the delay of this link is not given",
                    expected: "one of `distance` (5 us per km), `one_way` and `rtt`",
                    example: "distance: 1500 km")
            }
            return distance.map {
                Interval(nanoseconds: Int64(($0 * Self.nanosecondsPerKilometre).rounded()))
            }
        }
        guard
            let delay = oneWay
                ?? roundTrip.map({ Interval(nanoseconds: ($0.nanoseconds + 1) / 2) })
        else { return nil }
        if let distance {
            let least = distance * Self.leastNanosecondsPerKilometre
            if Double(delay.nanoseconds) < least {
                section.refuse(
                    given[0],
                    "\(Figures.duration(delay.seconds)) one way is faster than light in "
                        + "\(Figures.significant(distance)) km of fibre",
                    expected: "at least \(Figures.duration(least / 1e9)) one way (4.9 us per km)",
                    example: "\(given[0]): \(given[0] == "rtt" ? "30 ms" : "15 ms")")
                return nil
            }
        }
        return delay
    }
}
