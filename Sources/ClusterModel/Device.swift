/// What a worker's machine is said to be: a profile of the cluster file. It paces the worker and meters
/// energy and cost; nothing of it is measured.
package struct Device: Codable, Equatable, Sendable {
    /// Of the profile.
    package var name: String
    /// Relative to the device that ``Reference`` describes; nil: the worker is not paced by it.
    package var speed: Double?
    package var memoryBytes: UInt64?
    /// Power drawn while the trainer is blocked, in watts. Given together with `busyWatts`.
    package var idleWatts: Double?
    /// Power drawn while the trainer works.
    package var busyWatts: Double?
    package var price: Price?
    /// Who the machine belongs to; figures are summed per organisation too.
    package var organisation: String?

    package init(name: String) { self.name = name }

    /// Per hour, working or not.
    package struct Price: Codable, Equatable, Sendable {
        package var perHour: Double
        /// Three letters; one for all devices of a file.
        package var currency: String
        package init(perHour: Double, currency: String) {
            self.perHour = perHour
            self.currency = currency
        }
    }

    /// What a device of speed 1 needs for a step.
    package struct Reference: Codable, Equatable, Sendable {
        package var step: Interval
        /// Sequences of that step.
        package var batch: Int
        package init(step: Interval, batch: Int) {
            self.step = step
            self.batch = batch
        }

        /// Step time of a device of `speed` with `batch` sequences: in proportion to the sequences,
        /// nothing is constant.
        package func nominalStep(speed: Double, batch: Int) -> Interval {
            Interval(seconds: step.seconds * Double(batch) / Double(self.batch) / speed)
        }
    }

    /// Energy of so many seconds at work and at rest; nil without power figures.
    package func wattHours(busySeconds: Double, idleSeconds: Double) -> Double? {
        guard let busyWatts, let idleWatts else { return nil }
        return (busyWatts * busySeconds + idleWatts * idleSeconds) / 3600
    }

    /// Cost of so many seconds; nil without a price.
    package func cost(seconds: Double) -> Double? { price.map { $0.perHour * seconds / 3600 } }

    /// Whether it has anything to meter.
    package var isMetered: Bool { busyWatts != nil || price != nil }
}

extension RunEvent.TimeBudget {
    /// The trainer thread works: computes (pacing stands for a slower device, so it counts), encodes,
    /// decodes, steps.
    package var busySeconds: Double {
        compute.seconds + encode.seconds + decode.seconds + apply.seconds
    }

    /// The rest of its wall time: blocked, reconfiguring, moving state.
    package var idleSeconds: Double { max(0, wall.seconds - busySeconds) }

    /// What the process took of the machine's cores; where nobody measured it, how long the trainer
    /// thread was at work without pacing, which is more when it had to wait for a core.
    package var coreSeconds: Double {
        processor?.seconds ?? max(0, busySeconds - paced.seconds)
    }
}
