package import ClusterModel

extension RunSummary {
    /// Energy and cost of a run as the device profiles of its cluster file have them. Not measured:
    /// times are the record's, powers and prices the profiles'.
    package struct Metering: Codable, Equatable, Sendable {
        package var total: Row
        package var regions: [Row]
        /// Machines without an organisation are summed under "-".
        package var organisations: [Row]
        package var workers: [Row]
        package var currency: String?

        package struct Row: Codable, Equatable, Sendable {
            package var name: String
            package var device: String?
            package var busySeconds: Double
            package var idleSeconds: Double
            /// Nil when one of the summed machines has no power figures.
            package var wattHours: Double?
            /// Nil when one of the summed machines has no price.
            package var cost: Double?

            init(_ name: String, _ rows: [Row]) {
                self.name = name
                busySeconds = rows.reduce(0) { $0 + $1.busySeconds }
                idleSeconds = rows.reduce(0) { $0 + $1.idleSeconds }
                wattHours = Self.sum(rows.map(\.wattHours))
                cost = Self.sum(rows.map(\.cost))
            }

            init(_ worker: Topology.Worker, _ budget: RunEvent.TimeBudget) {
                name = worker.name
                device = worker.device?.name
                busySeconds = budget.busySeconds
                idleSeconds = budget.idleSeconds
                wattHours = worker.device?.wattHours(
                    busySeconds: busySeconds, idleSeconds: idleSeconds)
                cost = worker.device?.cost(seconds: budget.wall.seconds)
            }

            private static func sum(_ values: [Double?]) -> Double? {
                let known = values.compactMap(\.self)
                return known.count == values.count && !known.isEmpty ? known.reduce(0, +) : nil
            }
        }

        /// Nil when no device has power or price.
        package init?(_ topology: Topology, _ budget: (WorkerID) -> RunEvent.TimeBudget) {
            let seats = topology.seats
            let devices = seats.map { $0.worker.device }
            guard devices.contains(where: { $0?.isMetered == true }) else { return nil }
            currency = devices.lazy.compactMap { $0?.price?.currency }.first
            let rows = seats.map { Row($0.worker, budget($0.id)) }
            workers = rows
            total = Row("all", rows)
            regions = topology.regions.enumerated().map { index, region in
                Row(region.name, zip(seats, rows).filter { $0.0.region.index == index }.map(\.1))
            }
            let owners = devices.map { $0?.organisation ?? Figures.absent }
            var names: [String] = []
            for owner in owners where !names.contains(owner) { names.append(owner) }
            organisations = names.map { name in
                Row(name, zip(owners, rows).filter { $0.0 == name }.map(\.1))
            }
        }

        /// `12.3 Wh, 0.041 EUR`; what is not known is left out.
        package func text(_ row: Row) -> String {
            [
                row.wattHours.map { Figures.significant($0) + " Wh" },
                row.cost.map { "\(Figures.significant($0)) \(currency ?? "")" },
            ].compactMap(\.self).joined(separator: ", ")
        }
    }
}

extension SummaryBuilder {
    func metering(_ topology: Topology) -> RunSummary.Metering? {
        RunSummary.Metering(topology) { workers[$0]?.budget?.total ?? RunEvent.TimeBudget() }
    }
}
