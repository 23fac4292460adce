internal import ClusterModel

/// Device profiles as read, and what a step of the reference takes.
struct DeviceProfiles {
    var devices: [Device] = []
    /// Lines of the profiles, in their order.
    var lines: [Int] = []
    var reference: Device.Reference?
    /// All of them could be read; otherwise nobody is blamed for using one.
    var isComplete = true
}

/// `devices:` (profiles by name), `reference:` (a step of a device of speed 1), and `device:` of a worker.
extension FileReader {
    private static let deviceKeys = ["speed", "memory", "idle", "busy", "price", "organisation"]
    private static let deviceExample =
        "devices: {a: {speed: 1, idle: 60 W, busy: 400 W, price: 2.40 EUR/h}}"

    func readDevices(_ top: Section) -> DeviceProfiles {
        var profiles = DeviceProfiles()
        profiles.reference = readReference(top)
        if profiles.reference == nil, top.line(of: "reference") != nil {
            profiles.isComplete = false
        }
        guard let group = top.section("devices", keys: nil) else {
            if top.line(of: "devices") != nil { profiles.isComplete = false }
            return profiles
        }
        var currency: String?
        for entry in group.entries {
            guard let device = readDevice(entry, in: group, currency: &currency) else {
                profiles.isComplete = false
                continue
            }
            profiles.devices.append(device)
            profiles.lines.append(entry.line)
        }
        return profiles
    }

    private func readReference(_ top: Section) -> Device.Reference? {
        guard let section = top.section("reference", keys: ["step", "batch"]) else { return nil }
        let step = section.required(
            .duration("step", of: "the time a device of speed 1 takes", example: "200 ms"))
        let batch = section.required(
            .count("batch", 1...Limits.batch, of: "sequences of that step", example: 4))
        guard let step, let batch else { return nil }
        return Device.Reference(step: step, batch: batch)
    }

    private func readDevice(
        _ entry: Section.Entry, in group: Section, currency: inout String?
    ) -> Device? {
        let path = group.joined(entry.key)
        guard Field<String>.isName(entry.key) else {
            issues.add(
                line: entry.line, path: path, problem: "`\(entry.key)` is no name for a device",
                expected: "1 to \(Limits.nameBytes) of A-Z a-z 0-9 . _ -",
                example: Self.deviceExample)
            return nil
        }
        guard
            let section = Section(
                entry.node, path: path, line: entry.line, keys: Self.deviceKeys, issues: issues)
        else { return nil }
        var device = Device(name: entry.key)
        device.speed = section.value(
            .number(
                "speed", 1e-4...1e4, of: "speed relative to the reference", example: "0.6"))
        device.memoryBytes = section.value(.byteCount("memory"))
        device.idleWatts = section.value(.watts("idle", of: "power drawn at rest", "60 W"))
        device.busyWatts = section.value(.watts("busy", of: "power drawn at work", "400 W"))
        device.price = section.value(.price("price"))
        device.organisation = section.value(
            .name("organisation", of: "who the machine belongs to", example: "lab-a"))
        let found: [(String, Bool)] = [
            ("speed", device.speed == nil), ("memory", device.memoryBytes == nil),
            ("idle", device.idleWatts == nil), ("busy", device.busyWatts == nil),
            ("price", device.price == nil), ("organisation", device.organisation == nil),
        ]
        guard !found.contains(where: { section.line(of: $0.0) != nil && $0.1 }) else { return nil }
        return check(device, section, currency: &currency) ? device : nil
    }

    private func check(
        _ device: Device, _ section: Section, currency: inout String?
    ) -> Bool {
        if section.entries.isEmpty {
            issues.add(
                line: section.line, path: section.path, problem: "a device without properties",
                expected: "one of " + Self.deviceKeys.joined(separator: ", "),
                example: Self.deviceExample)
            return false
        }
        if (device.idleWatts == nil) != (device.busyWatts == nil) {
            let missing = device.idleWatts == nil ? "idle" : "busy"
            section.refuse(
                missing, "`\(missing)` is missing: energy needs both powers",
                expected: "`idle` and `busy`, or neither", example: "\(missing): 100 W")
            return false
        }
        if let idle = device.idleWatts, let busy = device.busyWatts, idle > busy {
            section.refuse(
                "idle", "it would draw more at rest (\(Figures.significant(idle)) W) than at work",
                expected: "at most `busy`, \(Figures.significant(busy)) W", example: "idle: 60 W")
            return false
        }
        if let price = device.price {
            if let currency, currency != price.currency {
                section.refuse(
                    "price", "prices in \(currency) and \(price.currency) cannot be added",
                    expected: "one currency in the whole file", example: "price: 2 \(currency)/h")
                return false
            }
            currency = price.currency
        }
        return true
    }

    /// The worker with its device: paced by it where the device has a speed.
    func give(
        _ profiles: DeviceProfiles, to worker: Topology.Worker, _ section: Section
    ) -> Topology.Worker? {
        let names = profiles.devices.map(\.name)
        let name = section.value(.name("device", of: "a profile of `devices`", example: "a"))
        guard let name else { return nil }
        guard let device = profiles.devices.first(where: { $0.name == name }) else {
            guard profiles.isComplete else { return nil }
            let nearest = NearestKey.suggestion(for: name, among: names)
            section.refuse(
                "device",
                "there is no device `\(name)`" + (nearest.map { "; did you mean `\($0)`?" } ?? ""),
                expected: names.isEmpty
                    ? "a profile of `devices`, which is missing"
                    : "one of " + names.joined(separator: ", "),
                example: names.isEmpty ? Self.deviceExample : "device: \(nearest ?? names[0])")
            return nil
        }
        var worker = worker
        worker.device = device
        guard let speed = device.speed else { return worker }
        guard section.line(of: "step") == nil else {
            section.refuse(
                "step", "the speed of device `\(name)` fixes the pace already",
                expected: "`step`, or a device with `speed`", example: "device: \(name)")
            return nil
        }
        guard let reference = profiles.reference else {
            guard profiles.isComplete else { return nil }
            section.refuse(
                "device", "`reference` is missing: \(Figures.significant(speed)) of what speed?",
                expected: "the step of a device of speed 1 at the top of the file",
                example: "reference: {step: 200 ms, batch: 4}")
            return nil
        }
        worker.nominalStep = reference.nominalStep(speed: speed, batch: worker.microBatch)
        return worker
    }

    /// A profile or reference that nobody uses would silently do nothing.
    func checkUse(
        _ top: Section, of profiles: DeviceProfiles, regions: [Topology.Region], complete: Bool
    ) {
        guard complete, profiles.isComplete else { return }
        let workers = regions.flatMap(\.workers)
        for (device, line) in zip(profiles.devices, profiles.lines)
        where !workers.contains(where: { $0.device?.name == device.name }) {
            issues.add(
                line: line, path: "devices.\(device.name)",
                problem: "no worker is a `\(device.name)`",
                expected: "profiles that workers name", example: "device: \(device.name)")
        }
        guard profiles.reference != nil,
            !workers.contains(where: { $0.device?.speed != nil })
        else { return }
        top.refuse(
            "reference", "it would do nothing: no worker's device has a `speed`",
            expected: "`reference` only with such devices",
            example: "devices: {a: {speed: 0.6}}")
    }

    /// Parameters, gradient and two moments; under all schedules but `every-step` outer copy, momentum and
    /// mean, and what leaves, all at once or a fragment; under `decoupled` what a region offers while it
    /// trains on: fp32 each. Activations and buffers come on top and are not counted.
    func checkMemory(
        _ top: Section, topology: Topology?, model: RunConfiguration.Model?,
        schedule: RunConfiguration.Schedule?
    ) {
        guard let topology, let model, let schedule else { return }
        let vectors: UInt64 =
            switch schedule.outer {
            case .everyStep: 4
            case .localSGD, .diloco, .streaming: 7
            case .decoupled: 8
            }
        let leaving: UInt64 =
            schedule.outer == .everyStep
            ? 0 : model.parameterCount / UInt64(max(1, schedule.fragments))
        let needed = 4 * (model.parameterCount * vectors + leaving)
        var told: [String] = []
        for worker in topology.seats.map(\.worker) {
            guard let device = worker.device, let memory = device.memoryBytes, memory < needed,
                !told.contains(device.name)
            else { continue }
            told.append(device.name)
            issues.add(
                line: top.line(of: "devices"), path: "devices.\(device.name).memory",
                problem:
                    "\(worker.name) cannot hold the run: \(Figures.bytes(Double(memory))), and "
                    + "\(vectors) vectors of \(Figures.grouped(model.parameterCount)) values"
                    + (leaving > 0 ? " and what leaves at once" : "") + " take "
                    + Figures.bytes(Double(needed)),
                expected: "more memory, or a smaller `model`", example: "memory: 80 GB")
        }
    }
}

extension Field where Value == UInt64 {
    fileprivate static func byteCount(_ key: String) -> Field {
        Field(
            key: key,
            expected: "memory with its unit (MB, GB, MiB, GiB), from 1 MB to 1 PB",
            example: "80 GB"
        ) { text in
            Quantity.parse(text, units: Quantity.bytes)
                .flatMap { (1e6...1e15).contains($0) ? UInt64($0.rounded()) : nil }
        }
    }
}

extension Field where Value == Double {
    fileprivate static func watts(_ key: String, of what: String, _ example: String) -> Field {
        Field(
            key: key, expected: "\(what), with its unit (W, kW), at most 1,000 kW",
            example: example
        ) { text in
            Quantity.parse(text, units: [("W", 1), ("kW", 1e3)]).flatMap { $0 <= 1e6 ? $0 : nil }
        }
    }
}

extension Field where Value == Device.Price {
    fileprivate static func price(_ key: String) -> Field {
        Field(
            key: key,
            expected: "a price per hour: a number, three capital letters, `/h`; at most 1,000,000",
            example: "2.40 EUR/h"
        ) { text in
            guard text.hasSuffix("/h") else { return nil }
            let currency = text.dropLast(2).suffix(3)
            guard currency.count == 3, currency.allSatisfy({ $0.isASCII && $0.isUppercase }),
                let number = Quantity.parse(
                    String(text.dropLast(2)), units: [(String(currency), 1)]), number <= 1e6
            else { return nil }
            return Device.Price(perHour: number, currency: String(currency))
        }
    }
}
