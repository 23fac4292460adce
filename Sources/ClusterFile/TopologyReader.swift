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
                entry.node, path: path, line: entry.line, keys: ["workers"], issues: issues)
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
        return complete.count == workers.count
            ? Topology.Region(name: entry.key, workers: complete) : nil
    }

    private func readWorker(
        _ node: Node, path: String, line: Int, _ seen: inout [String: Int],
        devices: DeviceProfiles
    ) -> Topology.Worker? {
        guard
            let section = Section(
                node, path: path, line: line,
                keys: ["name", "batch", "step", "device", "dial_out"], issues: issues)
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
        if let name, let first = seen.updateValue(line, forKey: name) {
            seen[name] = first
            section.refuse(
                "name", "`\(name)` is already the name of the worker in line \(first)",
                expected: "a name no other worker of the pool has", example: "name: \(name)-2")
            return nil
        }
        guard let name, let batch, step != nil || !hasStep else { return nil }
        var worker = Topology.Worker(
            name: name, microBatch: batch, nominalStep: step ?? .zero)
        worker.dialsOut = section.value(
            .flag("dial_out", of: "nobody can dial this worker (NAT); it dials the others"))
        guard section.line(of: "device") != nil else { return worker }
        return give(devices, to: worker, section)
    }

    private func readCoordinator(_ top: Section, regions: [Topology.Region]) -> RegionID? {
        let field = Field<RegionID>.choice(
            "coordinator", of: "the region the coordinator runs in",
            regions.enumerated().map { ($0.element.name, RegionID($0.offset)) })
        if regions.count == 1, top.line(of: "coordinator") == nil { return RegionID(0) }
        return top.required(field)
    }
}
