internal import ClusterModel
internal import Yams

/// How the links of a cluster file are emulated.
package enum Emulation: String, Codable, CaseIterable, Sendable {
    /// A SOCKS5 relay per pair of regions; no root.
    case relay
    /// A network namespace per region and a user-space forwarder of packets; root.
    case packet
}

/// What a link may have beyond rate and delay: loss, directions that differ, a schedule.
extension FileReader {
    static let directionKeys = ["rate", "one_way", "jitter", "queue", "loss", "loss_burst"]
    static let changeKeys = [
        "at", "for", "every", "from", "outage", "rate", "one_way", "reset",
    ]
    static let changeExample = "- {at: 60 s, for: 20 s, outage: true}"

    func readEmulation(_ top: Section) -> Emulation {
        top.value(
            .choice(
                "emulate", of: "how links are emulated",
                Emulation.allCases.map { ($0.rawValue, $0) })) ?? .relay
    }

    /// Adds to a link what stands in its section beyond rate and delay.
    func readDetails(
        _ section: Section, of link: inout Topology.Link, regions: [Topology.Region],
        emulation: Emulation
    ) {
        link.loss = readLoss(section, emulation)
        readDirections(section, of: &link, regions: regions, emulation: emulation)
        guard
            let items = section.items(
                "schedule", of: "changes of the link", example: Self.changeExample)
        else { return }
        if items.count > Limits.linkChanges {
            section.refuse(
                "schedule", "\(items.count) changes",
                expected: "at most \(Limits.linkChanges) changes of one link",
                example: Self.changeExample)
            return
        }
        let ends = [link.a, link.b]
        let changes = items.compactMap { item in
            Section(
                item.node, path: item.path, line: item.line, keys: Self.changeKeys, issues: issues
            ).flatMap { readChange($0, ends: ends, regions: regions, emulation: emulation) }
        }
        if !changes.isEmpty { link.changes = changes }
    }

    private func readLoss(_ section: Section, _ emulation: Emulation) -> LossParameters? {
        let field = Field<UInt64>(
            key: "loss", expected: "the share of packets lost, from 0 % to 50 %", example: "0.01 %"
        ) { text in
            Quantity.parse(text, units: [("%", 1e7)])
                .flatMap { $0 <= 5e8 ? UInt64($0.rounded()) : nil }
        }
        let share = section.value(field)
        let burst = section.value(
            .number("loss_burst", 1...1000, of: "mean packets lost in a row", example: "8"))
        for key in ["loss", "loss_burst"] where section.line(of: key) != nil {
            guard emulation == .relay else { continue }
            section.refuse(
                key, "a relay ends TCP and loses no packets",
                expected: "`emulate: packet` at the "
                    + "top of the file, or no `\(key)`", example: "emulate: packet")
        }
        if burst != nil, section.line(of: "loss") == nil {
            section.refuse(
                "loss_burst", "`loss_burst` without `loss`", expected: "the share of packets lost",
                example: "loss: 0.01 %")
        }
        guard let share, share > 0 else { return nil }
        return burst.map { .bursts(perBillion: share, meanLength: $0) }
            ?? .random(perBillion: share)
    }

    private func readDirections(
        _ section: Section, of link: inout Topology.Link, regions: [Topology.Region],
        emulation: Emulation
    ) {
        guard let group = section.section("from", keys: nil) else { return }
        let base = link.parameters(from: link.a)
        var forth = base
        var back = base
        for entry in group.entries {
            guard let region = end(entry.key, of: [link.a, link.b], regions, group, entry.key)
            else { continue }
            guard
                let own = Section(
                    entry.node, path: group.joined(entry.key), line: entry.line,
                    keys: Self.directionKeys, issues: issues)
            else { continue }
            var changed = base
            if let rate = own.value(.bitRate("rate")) { changed.bitsPerSecond = rate }
            if let delay = own.value(
                .duration("one_way", of: "the delay in this direction", example: "15 ms"))
            {
                changed.oneWayNanoseconds = delay.nanoseconds
            }
            if let jitter = own.value(
                .duration(
                    "jitter", of: "the largest extra delay", example: "1 ms", zeroAllowed: true))
            {
                changed.jitterNanoseconds = jitter.nanoseconds
            }
            if let queue = own.value(Self.queueField) { changed.queueLimitBytes = queue }
            if let loss = readLoss(own, emulation) { changed.loss = loss }
            if region == link.a { forth = changed } else { back = changed }
        }
        link.rate = forth.bitsPerSecond
        link.oneWayDelay = Interval(nanoseconds: forth.oneWayNanoseconds)
        link.jitter = Interval(nanoseconds: forth.jitterNanoseconds)
        link.queueBytes = forth.queueLimitBytes
        link.loss = forth.loss
        link.reverse = back == forth ? nil : back
    }

    private func end(
        _ name: String, of ends: [RegionID], _ regions: [Topology.Region], _ section: Section,
        _ key: String
    ) -> RegionID? {
        if let end = ends.first(where: { regions[$0.index].name == name }) { return end }
        let names = ends.map { regions[$0.index].name }
        let nearest = NearestKey.suggestion(for: name, among: names)
        section.refuse(
            key,
            "`\(name)` is no end of this link" + (nearest.map { "; did you mean `\($0)`?" } ?? ""),
            expected: "the region that sends: " + names.joined(separator: " or "),
            example: "\(section.path.hasSuffix("from") ? "" : "from: ")\(names[0])")
        return nil
    }

    private func readChange(
        _ section: Section, ends: [RegionID], regions: [Topology.Region], emulation: Emulation
    ) -> LinkChange? {
        func time(_ key: String, _ what: String, zeroAllowed: Bool = false) -> Interval? {
            section.value(
                .duration(key, of: what, example: "20 s", zeroAllowed: zeroAllowed))
        }
        guard section.line(of: "at") != nil else {
            section.refuse(
                "at", "`at` is missing", expected: "when it happens, counted from the link's start",
                example: Self.changeExample)
            return nil
        }
        guard let at = time("at", "when it happens, from the link's start", zeroAllowed: true)
        else { return nil }
        var change = LinkChange(at: at)
        change.duration = time("for", "how long it lasts")
        change.every = time("every", "after how long it happens again")
        change.isOutage = section.value(.flag("outage", of: "nothing passes")) ?? false
        change.rate = section.value(.bitRate("rate"))
        change.oneWay = time("one_way", "the delay from then on", zeroAllowed: true)
        change.reset = section.value(
            .choice(
                "reset", of: "which connections are reset",
                LinkChange.Reset.allCases.map { ($0.rawValue, $0) }))
        if let entry = section.entries.first(where: { $0.key == "from" }) {
            change.from = end(
                entry.node.scalar?.string ?? "", of: ends, regions, section, "from")
        }
        return isSound(section, change, emulation) ? change : nil
    }

    private func isSound(
        _ section: Section, _ change: LinkChange, _ emulation: Emulation
    ) -> Bool {
        let effects =
            (change.isOutage ? 1 : 0) + (change.reset != nil ? 1 : 0)
            + (change.rate != nil || change.oneWay != nil ? 1 : 0)
        func refuse(_ key: String, _ problem: String, _ expected: String, _ example: String) -> Bool
        {
            section.refuse(key, problem, expected: expected, example: example)
            return false
        }
        if effects != 1 {
            // A value that could not be read has said so itself.
            let isWritten = ["outage", "rate", "one_way", "reset"].contains {
                section.line(of: $0) != nil
            }
            if effects == 0, isWritten, section.line(of: "outage") == nil { return false }
            return refuse(
                "at", effects == 0 ? "nothing changes" : "several changes in one",
                "one of `outage: true`, `reset` and new `rate` and `one_way`", Self.changeExample)
        }
        guard change.reset != nil else {
            return change.every == nil
                || refuse(
                    "every", "only resets are repeated", "`every` beside `reset`",
                    "- {at: 10 s, every: 1 s, reset: one}")
        }
        if emulation == .packet {
            return refuse(
                "reset", "packets belong to no connection that could be reset",
                "`emulate: relay`, or an outage", Self.changeExample)
        }
        return change.duration == nil && change.from == nil
            || refuse(
                "reset", "a reset has no duration and no direction", "`at`, `every` and `reset`",
                "- {at: 10 s, every: 1 s, reset: one}")
    }

    /// A pair of regions that reach each other over a third.
    func readPath(
        _ section: Section, over links: [Topology.Link], regions: [Topology.Region]
    ) -> Topology.Link? {
        let example = "- {between: [beijing, guangzhou], via: chengdu}"
        func refuse(_ key: String, _ problem: String, _ expected: String) -> Topology.Link? {
            section.refuse(key, problem, expected: expected, example: example)
            return nil
        }
        if let other = section.entries.first(where: { $0.key != "between" && $0.key != "via" }) {
            return refuse(
                other.key, "a path over a region has no `\(other.key)` of its own",
                "`between` and `via` only; the two links on the way have the rest")
        }
        guard let ends = readEnds(section, regions: regions),
            let via = section.value(
                .choice(
                    "via", of: "the region on the way",
                    regions.enumerated().map { ($0.element.name, RegionID($0.offset)) }))
        else { return nil }
        func direct(_ a: RegionID, _ b: RegionID) -> Topology.Link? {
            links.first { $0.via == nil && [$0.a, $0.b].contains(a) && [$0.a, $0.b].contains(b) }
        }
        guard via != ends.a, via != ends.b, let first = direct(ends.a, via),
            let second = direct(via, ends.b)
        else {
            return refuse(
                "via", "`\(regions[via.index].name)` has no link of its own to each of the two",
                "a third region with a link to both ends")
        }
        guard !links.contains(where: { $0.a == ends.a && $0.b == ends.b }) else {
            return refuse(
                "between", "this pair of regions has a link already", "one link for each pair")
        }
        return Topology.Link(ends.a, first, via: via, second, ends.b)
    }
}
