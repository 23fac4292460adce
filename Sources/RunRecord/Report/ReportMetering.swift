internal import ClusterModel

/// Energy and cost by organisation, region and worker.
enum ReportMetering {
    static func section(_ summary: RunSummary) -> Markup {
        guard let metering = summary.metering else { return .nothing }
        func rows(_ kind: String, _ rows: [RunSummary.Metering.Row]) -> [[String]] {
            rows.map { row in
                [
                    row.name, kind, row.device ?? Figures.absent,
                    Figures.duration(row.busySeconds), Figures.duration(row.idleSeconds),
                    row.wattHours.map(Figures.significant) ?? Figures.absent,
                    row.cost.map(Figures.significant) ?? Figures.absent,
                ]
            }
        }
        let all =
            rows("run", [metering.total]) + rows("organisation", metering.organisations)
            + rows("region", metering.regions) + rows("worker", metering.workers)
        return HTMLReport.section(
            "Energy and cost", id: "metering",
            """
            \(HTMLReport.table(
                ["of", "", "device", "at work", "at rest", "Wh", "cost, \(metering.currency ?? "-")"],
                all, wide: [1, 2]))
            <p class="note">From the device profiles of the cluster file, not measured: time at \
            work (compute with pacing, encode, decode, apply) x busy power + the rest of the \
            trainer\u{2019}s wall time x idle power; wall time x price per hour. A dash: a machine \
            without that figure is among them.</p>
            """)
    }
}
