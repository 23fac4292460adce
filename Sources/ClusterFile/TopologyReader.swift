internal import ClusterModel
internal import Yams

/// Regions, their workers, and the links between regions.
extension FileReader {
    static let regionsExample = "regions: {shanghai: {workers: [{name: sh-1, batch: 4}]}}"
    static let workerExample = "- {name: shanghai-1, batch: 4, step: 200 ms}"

    func readTopology(
        _ top: Section, emulation: Emulation, devices: DeviceProfiles
    ) -> Topology? {
        guard let group = top.section("regions", keys: nil) else {
            if top.line(of: "regions") == nil {
                top.refuse(
                    "regions", "`regions` is missing", expected: "regions with their workers",
                    example: Self.regionsExample)
            }
            return nil
        }
        var seen: [String: Int] = [:]
        var complete = true
        var regions: [Topology.Region] = []
        for entry in group.entries {
            if let region = readRegion(entry, in: group, workersSeen: &seen, devices: devices) {
                regions.append(region)
            } else {
                complete = false
            }
        }
        checkCounts(group, workers: seen.count)
        checkUse(top, of: devices, regions: regions, complete: complete)
        guard complete, !regions.isEmpty else { return nil }
        let coordinator = readCoordinator(top, regions: regions)
        let links = readLinks(top, regions: regions, emulation: emulation)
        guard let links, let coordinator else { return nil }
        return Topology(regions: regions, links: links, coordinatorRegion: coordinator)
    }

    private func checkCounts(_ group: Section, workers: Int) {
        if group.entries.isEmpty || group.entries.count > Limits.regions {
            issues.add(
                line: group.line, path: "regions", problem: "\(group.entries.count) regions",
                expected: "1 to \(Limits.regions) regions", example: Self.regionsExample)
        }
        if workers > Limits.workers {
            issues.add(
                line: group.line, path: "regions", problem: "\(workers) workers",
                expected: "at most \(Limits.workers) workers in all regions",
                example: Self.workerExample)
        }
    }

    private func readRegion(
        _ entry: Section.Entry, in group: Section, workersSeen seen: inout [String: Int],
        devices: DeviceProfiles
    ) -> Topology.Region? {
        let path = group.joined(entry.key)
        if !Field<String>.isName(entry.key) {
            issues.add(
                line: entry.line, path: path, problem: "`\(entry.key)` is no name for a region",
                expected: "1 to \(Limits.nameBytes) of A-Z a-z 0-9 . _ -", example: "shanghai:")
        }
        guard
            let section = Section(
                entry.node, path: path, line: entry.line, keys: ["workers", "text"], issues: issues)
        else { return nil }
        guard section.line(of: "workers") != nil else {
            section.refuse(
                "workers", "a region without `workers`", expected: "at least one worker",
                example: "workers: [{name: \(entry.key)-1, batch: 4}]")
            return nil
        }
        guard
            let items = section.items("workers", of: "workers", example: Self.workerExample)
        else { return nil }
        if items.isEmpty {
            section.refuse(
                "workers", "no worker in this region", expected: "at least one worker",
                example: Self.workerExample)
            return nil
        }
        let workers = items.map {
            readWorker($0.node, path: $0.path, line: $0.line, &seen, devices: devices)
        }
        let complete = workers.compactMap(\.self)
        let text = readText(section)
        guard complete.count == workers.count, text != nil || section.line(of: "text") == nil else {
            return nil
        }
        return Topology.Region(name: entry.key, workers: complete.flatMap(\.self), text: text)
    }

    private func readText(_ region: Section) -> Topology.TextPart? {
        guard let section = region.section("text", keys: ["from", "to"]) else { return nil }
        func share(_ key: String, _ standard: Double) -> Double? {
            section.line(of: key) == nil
                ? standard
                : section.value(
                    .number(key, 0...1, of: "a share of the training text", example: "0.5"))
        }
        guard let from = share("from", 0), let to = share("to", 1) else { return nil }
        guard from < to else {
            section.refuse(
                section.line(of: "to") == nil ? "from" : "to",
                "from \(from) to \(to) of the text is nothing",
                expected: "`from` below `to`", example: "text: {from: 0, to: 0.5}")
            return nil
        }
        return Topology.TextPart(from: from, to: to)
    }

    private func readWorker(
        _ node: Node, path: String, line: Int, _ seen: inout [String: Int],
        devices: DeviceProfiles
    ) -> [Topology.Worker]? {
        guard
            let section = Section(
                node, path: path, line: line,
                keys: ["name", "count", "batch", "step", "device", "dial_out"], issues: issues)
        else { return nil }
        let name = section.required(
            .name("name", of: "the worker's name", example: "shanghai-1"))
        let batch = section.required(
            .count("batch", 1...Limits.batch, of: "sequences per inner step", example: 4))
        let hasStep = section.line(of: "step") != nil
        let step = section.value(
            .duration(
                "step", of: "the nominal time of an inner step (it is paced to that)",
                example: "200 ms"))
        let count = section.value(
            .count(
                "count", 1...Limits.workers, of: "workers alike, name-1, name-2, ...", example: 8))
        guard count != nil || section.line(of: "count") == nil else { return nil }
        let names = name.map { name in
            count.map { count in (1...count).map { "\(name)-\($0)" } } ?? [name]
        }
        for name in names ?? [] {
            guard let first = seen.updateValue(line, forKey: name) else { continue }
            seen[name] = first
            section.refuse(
                "name", "`\(name)` is already the name of the worker in line \(first)",
                expected: "a name no other worker of the pool has", example: "name: \(name)-2")
            return nil
        }
        guard let names, let batch, step != nil || !hasStep else { return nil }
        if let last = names.last, !Field<String>.isName(last) {
            section.refuse(
                "name", "`\(last)` is no name for a worker",
                expected: "1 to \(Limits.nameBytes) of A-Z a-z 0-9 . _ -", example: "name: a")
            return nil
        }
        var worker = Topology.Worker(
            name: names[0], microBatch: batch, nominalStep: step ?? .zero)
        worker.dialsOut = section.value(
            .flag("dial_out", of: "nobody can dial this worker (NAT); it dials the others"))
        if section.line(of: "device") != nil {
            guard let equipped = give(devices, to: worker, section) else { return nil }
            worker = equipped
        }
        return names.map { name in
            worker.name = name
            return worker
        }
    }

    private func readCoordinator(_ top: Section, regions: [Topology.Region]) -> RegionID? {
        let field = Field<RegionID>.choice(
            "coordinator", of: "the region the coordinator runs in",
            regions.enumerated().map { ($0.element.name, RegionID($0.offset)) })
        if regions.count == 1, top.line(of: "coordinator") == nil { return RegionID(0) }
        return top.required(field)
    }
}
