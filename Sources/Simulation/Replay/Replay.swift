import ClusterModel
package import Coordination

/// Runs recorded logs through machines.
package struct Replay {
    /// A machine that wants something else than the recorded one did.
    package struct Difference: Equatable, Sendable {
        /// Of the record, from 0: the line of the file, minus 1.
        package var index: Int
        package var process: UInt64
        /// What it was told, and what was wanted then and now, for people.
        package var event: String
        package var recorded: String
        package var replayed: String
    }

    private enum Machine {
        case worker(Worker)
        case coordinator(Coordinator)
    }

    /// Looked up by process; never iterated.
    private var machines: [UInt64: Machine] = [:]
    /// Records that could not be replayed: their machine's beginning is not in the log.
    package private(set) var orphans = 0
    package private(set) var replayed = 0
    package private(set) var machineCount = 0

    package init() {}

    /// The first difference of a whole log; nil if there is none.
    package static func firstDifference(_ log: [MachineRecord]) -> Difference? {
        var replay = Replay()
        for (index, record) in log.enumerated() {
            if let difference = replay.step(record, index: index) { return difference }
        }
        return nil
    }

    /// Tells the machine of a record the same; nil when it wants the same.
    package mutating func step(_ record: MachineRecord, index: Int) -> Difference? {
        switch record {
        case .begins(let process, let origin):
            machines[process] = Self.machine(origin)
            machineCount += 1
            return nil
        case .worker(let process, let time, let event, let recorded):
            guard case .worker(var machine) = machines[process] else { return orphan() }
            // The table must not hold a second copy while the machine changes.
            machines[process] = nil
            let effects = machine.handle(event, at: time)
            machines[process] = .worker(machine)
            replayed += 1
            return compare(recorded, effects, index, process, "\(event)")
        case .coordinator(let process, let time, let event, let recorded):
            guard case .coordinator(var machine) = machines[process] else { return orphan() }
            machines[process] = nil
            let effects = machine.handle(event, at: time)
            machines[process] = .coordinator(machine)
            replayed += 1
            return compare(recorded, effects, index, process, "\(event)")
        }
    }

    private mutating func orphan() -> Difference? {
        orphans += 1
        return nil
    }

    private static func machine(_ origin: MachineOrigin) -> Machine {
        switch origin {
        case .worker(
            let worker, let region, let hello, let configuration, let topology, let hasRest):
            .worker(
                Worker(
                    worker: worker, region: region, hello: hello, configuration: configuration,
                    topology: topology, hasRest: hasRest ?? false))
        case .coordinator(
            let configuration, let topology, let text, let digest, let parameterCount):
            .coordinator(
                Coordinator(
                    configuration: configuration, topology: topology, configurationText: text,
                    configurationDigest: digest, parameterCount: parameterCount))
        }
    }

    private func compare<Effect: Equatable>(
        _ recorded: [Effect], _ replayed: [Effect], _ index: Int, _ process: UInt64,
        _ event: @autoclosure () -> String
    ) -> Difference? {
        guard recorded != replayed else { return nil }
        return Difference(
            index: index, process: process, event: event(), recorded: "\(recorded)",
            replayed: "\(replayed)")
    }
}
