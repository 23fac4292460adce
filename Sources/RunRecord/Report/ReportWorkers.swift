internal import ClusterModel

/// One row per worker, and memory per process.
enum ReportWorkers {
    static func section(_ summary: RunSummary) -> Markup {
        let rows = summary.workers.map { worker in
            [
                worker.name, worker.region, "\(worker.microBatch)",
                worker.nominalStepSeconds > 0
                    ? Figures.duration(worker.nominalStepSeconds) : "not paced",
                "\(worker.lastStep)", Figures.grouped(worker.tokens),
                worker.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                HTMLReport.percent(worker.computeUtilisation),
                HTMLReport.loss(worker.finalTrainingLoss), worker.state,
            ]
        }
        return HTMLReport.section(
            "Workers", id: "workers",
            """
            \(HTMLReport.table(
                [
                    "worker", "region", "batch", "paced to", "last step", "tokens", "tokens/s",
                    "CU", "training loss", "state",
                ], rows, wide: [1, 9]))
            <p class="note">Batch counts sequences per step. Tokens/s and compute utilisation \
            (CU) of a worker are over the wall time of its own trainer thread since its first \
            step.</p>
            \(memory(summary))
            """)
    }

    private static func memory(_ summary: RunSummary) -> Markup {
        guard !summary.peakMemory.isEmpty else { return .nothing }
        return """
            <h3>Peak memory</h3>
            \(HTMLReport.table(
                ["process", "resident"],
                summary.peakMemory.map { [$0.process, Figures.bytes(Double($0.peakBytes))] }))
            """
    }
}

/// E1, E2 and E3 where other runs were compared.
enum ReportEfficiency {
    static func section(_ summary: RunSummary, _ efficiency: Efficiency?) -> Markup {
        guard let efficiency else { return .nothing }
        let values = [efficiency.e1, efficiency.e2, efficiency.e3]
        let rows = zip(Efficiency.definitions, values).map { definition, value in
            [definition.term, HTMLReport.percent(value), definition.text]
        }
        var detail = ""
        if let loss = efficiency.e3Loss, let here = efficiency.e3PoolSeconds,
            let there = efficiency.e3ReferenceSeconds
        {
            detail =
                "E3 at a loss of \(Figures.fixed(loss, 3)): the reference took "
                + "\(Figures.duration(there)), the pool \(Figures.duration(here))."
        }
        return HTMLReport.section(
            "What pooling brought", id: "efficiency",
            """
            \(HTMLReport.table(["figure", "value", "definition"], rows, wide: [2]))
            <p class="note">\(detail)</p>
            """)
    }
}
