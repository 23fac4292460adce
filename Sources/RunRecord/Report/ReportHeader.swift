internal import ClusterModel

/// Name, what is emulated, what is incomplete, and the headline numbers with their definitions.
enum ReportHeader {
    static func markup(_ summary: RunSummary, _ efficiency: Efficiency?) -> Markup {
        let tiles = tiles(summary, efficiency).enumerated().map { index, tile -> Markup in
            """
            <div class="\(index == 0 ? "tile first" : "tile")"><dt>\(tile.name)</dt>
            <dd class="value">\(tile.value) <small>\(tile.unit)</small></dd>
            <dd class="why">\(tile.why)</dd></div>
            """
        }
        return """
            <header>
            <p class="eyebrow">Longhaul run report</p>
            <h1>\(summary.identity.name)</h1>
            <p class="lead">\(lead(summary))</p>
            \(banners(summary))
            <dl class="tiles">
            \(tiles)
            </dl>
            </header>
            """
    }

    private static func lead(_ summary: RunSummary) -> String {
        let setup = summary.setup
        let workers = summary.workers.count
        let regions = summary.regions.map(\.name).joined(separator: ", ")
        let places =
            summary.regions.count == 1
            ? "in \(regions)" : "in \(summary.regions.count) regions (\(regions))"
        let schedule =
            setup.syncEverySteps > 1
            ? "regions meet every \(setup.syncEverySteps) steps (\(setup.outerSchedule), "
                + "\(setup.wireBetween))"
            : "gradients are averaged after every step"
        return "\(workers) worker\(workers == 1 ? "" : "s") \(places) trained "
            + "\(Figures.grouped(setup.parameterCount)) parameters"
            + (workers == 1 ? "." : "; \(schedule).")
    }

    private static func banners(_ summary: RunSummary) -> Markup {
        var banners: [Markup] = []
        func add(_ kind: String, _ label: String, _ text: String) {
            banners.append(
                "<p class=\"banner \(kind)\" role=\"note\"><strong>\(label)</strong> \(text)</p>")
        }
        if summary.setup.synthetic == true {
            add("broken", "Synthetic.", SummaryText.synthetic)
        }
        if !summary.outcome.isComplete {
            add("broken", "Incomplete.", "\(summary.outcome.reason).")
        } else if let code = summary.outcome.exitCode, code != 0 {
            add("broken", "Ended with code \(code).", summary.outcome.reason)
        }
        if !summary.rounds.conflicts.isEmpty {
            add("broken", "Digests differ.", summary.rounds.conflicts.joined(separator: "; "))
        }
        if summary.identity.coordinatorStarts > 1 {
            add(
                "attention", "Restarted.",
                "The coordinator started \(summary.identity.coordinatorStarts) times; the time it "
                    + "was away between two starts is not counted.")
        }
        if summary.pool.isContended {
            add(
                "attention", "Contended.",
                "The workers took \(HTMLReport.percent(summary.pool.coreShare)) of this "
                    + "machine's cores, more than 75 %: CU says less about the links.")
        }
        if let text = summary.identity.simulated {
            add("attention", "Simulated.", text)
        } else if let text = emulation(summary) {
            add("attention", "Emulated.", text)
        }
        return "\(banners)"
    }

    /// What here is not real, or `nil` when all of it is.
    private static func emulation(_ summary: RunSummary) -> String? {
        let paced = summary.workers.filter { $0.nominalStepSeconds > 0 }.count
        var parts: [String] = []
        if summary.identity.emulated, summary.regions.count > 1 {
            let isPacket = summary.identity.emulation == "packet"
            parts.append(
                isPacket
                    ? "The distance is emulated: packets between regions crossed a forwarder with "
                        + "the given rate and delay; headers count."
                    : "The distance is emulated: bytes between regions passed a relay with the given "
                        + "rate and delay. The relay ends TCP, so slow start and loss on the long path "
                        + "do not show.")
        }
        if paced > 0 {
            parts.append(
                "The speed of \(paced) of \(summary.workers.count) workers is emulated by pacing: "
                    + "a step ends at the later of its real end and its nominal time.")
        }
        return parts.isEmpty ? nil : parts.joined(separator: " ")
    }

    private struct Tile {
        var name: String
        var value: String
        var unit = ""
        var why: String
    }

    private static func tiles(_ summary: RunSummary, _ efficiency: Efficiency?) -> [Tile] {
        let pool = summary.pool
        var tiles = [
            Tile(
                name: "Compute utilisation", value: HTMLReport.percent(pool.computeUtilisation),
                why: "Time computing, pacing included, of the wall time of the trainer threads."),
            Tile(
                name: "Throughput",
                value: pool.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                unit: "tokens/s",
                why: "\(Figures.grouped(pool.tokens)) tokens in "
                    + "\(Figures.duration(pool.trainingSeconds)) of training."),
            Tile(
                name: "Training loss", value: HTMLReport.loss(summary.loss.finalTrainingLoss),
                unit: "nats/byte",
                why: "Mean of the last \(summary.loss.finalTrainingSteps) steps over all workers, "
                    + "weighted by tokens."),
            Tile(
                name: "Validation loss", value: HTMLReport.loss(summary.loss.finalValidationLoss),
                unit: "nats/byte",
                why: summary.loss.finalValidationStep.map {
                    "After step \($0), on text no worker trains on."
                } ?? "Nobody evaluated."),
        ]
        if summary.regions.count > 1 {
            let bytes = pool.bytesBetweenRegionsRelay ?? pool.bytesBetweenRegionsLanes
            let counter = summary.identity.simulated == nil ? "relay" : "modelled links"
            tiles.append(
                Tile(
                    name: "Between regions", value: Figures.bytes(Double(bytes)),
                    why: pool.bytesBetweenRegionsRelay == nil
                        ? "Counted by the workers' lanes, before encryption."
                        : "All directions, counted by the \(counter); the lanes counted "
                            + "\(Figures.bytes(Double(pool.bytesBetweenRegionsLanes))).")
            )
            tiles.append(
                Tile(
                    name: "Rounds committed", value: "\(summary.rounds.committed)",
                    why: summary.rounds.latest.last.map {
                        "One digest on every member; the last is \($0.digest)."
                    } ?? "None was committed."))
        }
        if let metering = summary.metering, let energy = metering.total.wattHours {
            tiles.append(
                Tile(
                    name: "Energy", value: Figures.significant(energy), unit: "Wh",
                    why: "From the device profiles, not measured"
                        + (metering.total.cost.map {
                            "; cost \(Figures.significant($0)) \(metering.currency ?? "")."
                        } ?? ".")))
        }
        if let efficiency {
            for (index, value) in [efficiency.e1, efficiency.e2, efficiency.e3].enumerated() {
                guard let value else { continue }
                let definition = Efficiency.definitions[index]
                tiles.append(
                    Tile(
                        name: definition.term, value: Figures.percent(value), why: definition.text))
            }
        }
        return tiles
    }
}
