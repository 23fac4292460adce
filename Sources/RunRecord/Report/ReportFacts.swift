internal import ClusterModel

/// What a reader needs to repeat the run, the digests to compare it by, and the definitions.
enum ReportFacts {
    static func section(_ summary: RunSummary) -> Markup {
        let facts = facts(summary).map { fact -> Markup in
            let value: Markup =
                fact.isCode ? "<code>\(fact.value)</code>" : "\(fact.value)"
            return "<dt>\(fact.name)</dt><dd>\(value)</dd>"
        }
        return HTMLReport.section(
            "How to repeat it", id: "facts",
            """
            <dl class="facts">
            \(facts)
            </dl>
            \(digests(summary))
            """)
    }

    private struct Fact {
        var name: String
        var value: String
        var isCode = false
    }

    private static func facts(_ summary: RunSummary) -> [Fact] {
        let identity = summary.identity
        let setup = summary.setup
        let links = identity.emulated ? "emulated" : "real network"
        var facts = [
            Fact(
                name: "Command", value: commandLine(identity.command), isCode: true),
            Fact(name: "Version", value: identity.version),
            Fact(name: "Seed", value: "\(identity.seed)"),
            Fact(name: "Machine", value: identity.machine),
            Fact(
                name: "Kernels",
                value: identity.kernels.isEmpty
                    ? "not told" : identity.kernels.joined(separator: "; ")
            ),
            Fact(
                name: "Encryption",
                value: identity.curve
                    ? "CURVE, allow-list" : "CURVE, allow-list on control; data lanes off (--plain)"
            ),
            Fact(name: "Links", value: identity.simulated == nil ? links : "modelled"),
            Fact(name: "Coordinator", value: "in \(setup.coordinatorRegion)"),
            Fact(
                name: "Model",
                value: "\(Figures.grouped(setup.parameterCount)) parameters: "
                    + (setup.synthetic == true
                        ? "synthetic, nothing is learnt"
                        : "width \(setup.width), \(setup.layers) layers, \(setup.heads) heads, "
                            + "context \(setup.contextTokens)")
            ),
            Fact(
                name: "Schedule",
                value: "inside \(setup.innerSchedule), between \(setup.outerSchedule), "
                    + "H = \(setup.syncEverySteps), "
                    + "outer learning rate \(setup.outerLearningRate), "
                    + "momentum \(setup.outerMomentum)"),
            Fact(
                name: "Encoding",
                value: "\(setup.wireInside) inside, \(setup.wireBetween) between regions"),
            Fact(
                name: "Steps",
                value: "\(summary.pool.lastStep) of \(setup.steps) done"
                    + (summary.pool.repeatedTokens > 0
                        ? "; \(Figures.grouped(summary.pool.repeatedTokens)) tokens trained twice"
                        : "")),
            Fact(name: "Data", value: setup.dataPath, isCode: true),
        ]
        if let overlaps = setup.overlaps {
            let place = facts.firstIndex { $0.name == "Encoding" } ?? facts.endIndex
            facts.insert(
                Fact(name: "Overlap", value: overlaps.joined(separator: "; ")), at: place)
        }
        facts += summary.outcome.models.map { model in
            Fact(name: "Model file", value: "\(model.path) (digest \(model.digest))", isCode: true)
        }
        return facts
    }

    /// As a shell would take it. A single element is a whole line already.
    private static func commandLine(_ command: [String]) -> String {
        command.count == 1 ? command[0] : command.map(quoted).joined(separator: " ")
    }

    private static func quoted(_ argument: String) -> String {
        let plain = argument.utf8.allSatisfy { byte in
            (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
                || (byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z"))
                || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
                || "-_./:=,@%+".utf8.contains(byte)
        }
        if plain, !argument.isEmpty { return argument }
        return "'"
            + argument.split(separator: "'", omittingEmptySubsequences: false)
            .joined(separator: "'\\''") + "'"
    }

    private static func digests(_ summary: RunSummary) -> Markup {
        let latest = summary.rounds.latest.suffix(10)
        guard !latest.isEmpty else { return .nothing }
        let rows = latest.map { round in
            [
                "\(round.round)", "\(round.fragment)", WaitText.clock(round.seconds),
                "\(round.members)", Figures.grouped(round.tokens), round.digest,
            ]
        }
        return """
            <h3>Digests of the last rounds</h3>
            \(HTMLReport.table(
                ["round", "fragment", "committed", "members", "tokens", "digest"], rows))
            \(closings(summary))
            """
    }

    private static func closings(_ summary: RunSummary) -> Markup {
        guard let closing = summary.rounds.closing else { return .nothing }
        return """
            <h3>How rounds were closed</h3>
            <p>\(closing.closed): \(closing.text).</p>
            \(HTMLReport.table(
                ["closed", "why"],
                closing.latest.suffix(20).map { [WaitText.clock($0.seconds), $0.because] }))
            """
    }

    static func definitions(_ efficiency: Efficiency?) -> Markup {
        let all = RunSummary.Definition.all + (efficiency == nil ? [] : Efficiency.definitions)
        let items = all.map { definition -> Markup in
            "<dt>\(definition.term)</dt><dd>\(definition.text)</dd>"
        }
        return HTMLReport.section(
            "Definitions", id: "definitions", "<dl class=\"facts\">\(items)</dl>")
    }
}
