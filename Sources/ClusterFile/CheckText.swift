internal import ClusterModel

extension CheckReport {
    /// For people: aligned, definitions beside the numbers, no colour.
    package var text: String {
        let sections = [
            heading, table(plan), regionTable, deviceTable, linkTable, codecText,
            streaming?.text ?? "", decoupled?.text ?? "", expertText, predictionText,
            similarityText, noteText,
        ]
        return sections.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
    }

    private var heading: String {
        "\(name): \(workersText) in \(count(regions.count, "region")), "
            + "coordinator in \(coordinatorRegion)\n\(file): nothing wrong found"
    }

    private var workersText: String {
        count(regions.reduce(0) { $0 + $1.workers }, "worker")
    }

    private var plan: [(String, String)] {
        var rows = [
            ("parameters", "\(Figures.grouped(parameterCount)) (\(shape))"),
            (
                "tokens",
                "\(Figures.grouped(tokensPerStep)) per step, \(Figures.grouped(tokens)) in "
                    + "\(Figures.grouped(UInt64(steps))) steps (\(warmupSteps) of warm-up)"
            ),
            ("data", model.synthetic == nil ? dataPath : "none"),
            ("seed", seedIsGiven ? "\(seed)" : "\(seed), drawn now"),
            ("inside a region", "\(innerSchedule), \(wireInside)"),
        ]
        let between: String
        if replicas < 2 {
            between = "nothing: there is one replica"
        } else if syncEverySteps == 1, outerSchedule == "every-step" {
            between = "every-step: gradients are averaged after each step, \(wireBetween)"
        } else {
            between =
                "\(outerSchedule), H = \(syncEverySteps): a round every \(syncEverySteps) steps, "
                + "outer learning rate \(outerLearningRate), momentum \(outerMomentum), "
                + wireBetween
        }
        rows.append(("between replicas", between))
        if replicas > 1 {
            rows.append(
                (
                    "rounds",
                    (decoupled == nil ? "" : "at least ")
                        + "\(Figures.grouped(UInt64(rounds))) of \(count(fragments, "fragment")) "
                        + "(\(fragments == 1 ? "the whole model" : "one after the other")) "
                        + "between \(replicas) replicas"
                ))
        }
        return rows
    }

    private var shape: String {
        if model.synthetic != nil { return "synthetic: nothing is learnt" }
        return "width \(model.width), \(count(model.layers, "layer")), "
            + "\(count(model.heads, "head")), context \(model.context)\(model.tiedHead ? ", tied head" : "")"
            + (model.experts.map { experts($0) } ?? "")
    }

    private func experts(_ experts: RunConfiguration.Model.Experts) -> String {
        let groups =
            experts.groups > 1 ? " in \(experts.groupsKept) of \(experts.groups) groups" : ""
        return ", top-\(experts.topK) of \(experts.count) experts\(groups), width \(experts.width)"
            + (experts.shared > 0 ? ", \(experts.shared) shared" : "")
            + ", \(experts.gate.rawValue) gate, balance \(experts.balance.rawValue)"
            + (experts.capacity > 0 ? ", capacity \(experts.capacity)" : ", dropless")
            + (experts.spread == .region ? ", spread over each region" : "")
    }

    private var regionTable: String {
        TextTable.render(
            ["region", "workers", "sequences/step", "tokens/step", "step time", "steps/round"],
            regions.map { region in
                [
                    region.name, "\(region.workers)", "\(region.samplesPerStep)",
                    Figures.grouped(region.tokensPerStep),
                    region.stepSeconds.map(Figures.duration) ?? "not paced",
                    "\(region.stepsPerRound)",
                ]
            })
    }

    private var deviceTable: String {
        guard !devices.isEmpty else { return "" }
        func power(_ watts: Double?) -> String {
            watts.map { Figures.significant($0) + " W" } ?? Figures.absent
        }
        return TextTable.render(
            ["device", "workers", "speed", "memory", "at rest", "at work", "price", "of"],
            devices.map { use in
                let device = use.device
                return [
                    device.name, "\(use.workers)",
                    device.speed.map(Figures.significant) ?? Figures.absent,
                    device.memoryBytes.map { Figures.bytes(Double($0)) } ?? Figures.absent,
                    power(device.idleWatts), power(device.busyWatts),
                    device.price.map { "\(Figures.significant($0.perHour)) \($0.currency)/h" }
                        ?? Figures.absent, device.organisation ?? Figures.absent,
                ]
            })
    }

    private var linkTable: String {
        guard !links.isEmpty else { return "" }
        // Under `across: budget`, where budgets are known.
        let cross = links.contains { $0.tokenBytesPerStep != nil }
        let rows = links.map { link in
            let tokens = link.tokenBytesPerStep.map(Figures.bytes) ?? Figures.absent
            return [
                "\(link.from) -> \(link.to)",
                link.distanceKilometres.map { Figures.significant($0) + " km" } ?? Figures.absent,
                link.roundTripSeconds.map(Figures.duration) ?? Figures.absent,
                link.rateBitsPerSecond.map { Figures.bitRate(Double($0)) } ?? "not limited",
                Figures.bytes(Double(link.bytesPerRound)), Figures.bytes(Double(link.bytes)),
                link.transferSeconds.map(Figures.duration) ?? Figures.absent,
            ] + (cross ? [tokens] : [])
        }
        let heads = [
            "link", "distance", "RTT", "rate", "bytes/round", "bytes/run", "transfer/round",
        ]
        return TextTable.render(heads + (cross ? ["tokens/step"] : []), rows)
            + (model.experts?.crossing == nil
                ? "" : "\nTokens that cross are not in the bytes of rounds and of the run.")
            + "\nBytes of encoded values "
            + (wireBetween == "auto"
                ? "(as each link's encoding has it), "
                : "(\(Figures.significant(bytesPerValueBetween * 8)) bits each), ")
            + "without frame headers, encryption and control traffic."
    }

    /// What would fit each link, beside what is configured.
    private var codecText: String {
        let choices = links.compactMap { link in
            link.codec.map { ("\(link.from) -> \(link.to)", "\($0.transform.name): \($0.reason)") }
        }
        guard !choices.isEmpty else { return "" }
        return table(choices) + "\n"
            + TextTable.wrapped(
                "The most precise encoding whose transfer and round trip fit into "
                    + (streaming == nil
                        ? "\(Figures.percent(LinkCodec.blockingShare)) of the time between two rounds"
                        : "the overlap, or the time until the next fragment leaves")
                    + "; `wire.between` is \(wireBetween)"
                    + (wireBetween == "auto"
                        ? ": this is what a run starts with, and measured rates change it unless "
                            + "`adapt` is never." : "."))
    }

    /// Three other ways to train the same experts, and the factors to the configured one.
    private var expertText: String {
        guard let experts, experts.configured > 0 else { return "" }
        func row(_ way: String, _ bytes: Double) -> [String] {
            [
                way, Figures.bytes(bytes),
                Figures.significant(bytes / experts.configured) + " x",
            ]
        }
        let crossing = links.compactMap(\.tokenBytesPerStep)
        let beside =
            crossing.isEmpty || tokensPerStep == 0
            ? []
            : [
                row(
                    "besides: tokens to experts of one region, at most",
                    crossing.reduce(0, +) / Double(tokensPerStep))
            ]
        let names = [
            "configured: everything once a round",
            "gradients after each step, \(wireBetween)",
            "gradients after each step, fp32", "tokens cross to their experts, bf16",
        ]
        let values = [
            experts.configured, experts.everyStep, experts.everyStep * 4 / bytesPerValueBetween,
            experts.tokensCross,
        ]
        return TextTable.render(
            ["experts between regions", "bytes/token", "of configured"],
            [row(names[0], values[0])] + beside + zip(names, values).dropFirst().map(row))
            + "\n"
            + TextTable.wrapped(
                "Computed. Averaging all experts plainly (`expert_weights: mean`) sends the bytes of "
                    + "the configured way: weights are in the chunks' headers. Where tokens cross, "
                    + "experts are spread over the regions by workers and all are equally likely: a "
                    + "token is sent to \(Figures.significant(experts.foreignRegions)) regions "
                    + "besides its own, per layer out and back, forwards and backwards; what the rest "
                    + "of the model then needs is not counted.")
    }

    private var predictionText: String {
        guard let prediction else {
            return "No prediction: \(predictionAbsent ?? "")."
        }
        let tokens = prediction.tokenWaitSeconds.map { wait in
            [
                (
                    "tokens across",
                    "each step waits at most \(Figures.duration(wait)): round trips, and the budget at the "
                        + "link's rate; from the round on in which experts have owners"
                )
            ]
        }
        return table(
            [
                (
                    "predicted CU",
                    Figures.percent(prediction.computeUtilisation) + ", "
                        + "\(Figures.grouped(prediction.tokensPerSecond)) tokens/s, "
                        + Figures.duration(prediction.wallSeconds) + " of training"
                ),
                (
                    "outer round",
                    "blocks for \(Figures.duration(prediction.blockedSeconds)) every "
                        + Figures.duration(prediction.secondsBetweenRounds)
                ),
            ] + (tokens ?? [])) + "\n" + TextTable.wrapped(Prediction.model)
    }

    private var similarityText: String {
        guard !links.isEmpty else { return "" }
        func row(_ term: String, _ here: Double?, _ full: Double?) -> [String] {
            [
                term, here.map(Figures.significant) ?? Figures.absent,
                full.map(Figures.significant) ?? Figures.absent,
            ]
        }
        return TextTable.render(
            ["similarity", "this run", "full scale"],
            [
                row(
                    "bytes per round / (rate x time between rounds)", similarity.linkFill,
                    fullScaleSimilarity.linkFill),
                row(
                    "RTT / step time", similarity.roundTripPerStep,
                    fullScaleSimilarity.roundTripPerStep),
            ]) + "\nFull scale: \(SimilarityRatios.FullScale.text).\n"
            + TextTable.wrapped(similarity.linkSentence) + "\n"
            + TextTable.wrapped(similarity.delaySentence)
    }

    private var noteText: String {
        notes.map { TextTable.wrapped($0) }.joined(separator: "\n")
    }

    private func table(_ rows: [(String, String)]) -> String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { TextTable.padded($0.0, width) + "  " + $0.1 }.joined(separator: "\n")
    }

    private func count(_ number: Int, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }
}
