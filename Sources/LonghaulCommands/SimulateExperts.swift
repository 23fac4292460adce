import ClusterFile
import ClusterModel
import Foundation
import RunRecord
import Simulation

/// `longhaul simulate FILE --experts`: only the routing of experts.
struct ExpertRoutingRun {
    let result: ExpertSimulationResult
    let names: [String]
    let scenario: RoutingScenario
    let seconds: Double

    init(_ cluster: ClusterFile) throws {
        let scenario = cluster.routing ?? RoutingScenario()
        if let reason = ExpertSimulation.whyNot(
            cluster.topology, cluster.configuration, scenario)
        {
            throw Failure(
                .usage, reason, hint: "see `routing` and `model` in docs/experts.md")
        }
        let clock = ContinuousClock()
        let began = clock.now
        var simulation = ExpertSimulation(
            cluster.topology, cluster.configuration, scenario,
            recorded: try Self.recorded(
                scenario, experts: cluster.configuration.model.experts,
                regions: cluster.topology.regions.map(\.name)))
        var told = began
        let steps = cluster.configuration.steps
        result = simulation.run { step in
            guard clock.now - told > .seconds(5) else { return }
            told = clock.now
            Console.error("step \(step) of \(steps)")
        }
        seconds = Double((clock.now - began) / .milliseconds(1)) / 1000
        names = cluster.topology.regions.map(\.name)
        self.scenario = scenario
    }

    /// The shares a run has recorded, of every region it had.
    private static func recorded(
        _ scenario: RoutingScenario, experts: RunConfiguration.Model.Experts?, regions: [String]
    ) throws -> RoutingTrace.Recorded? {
        guard let path = scenario.recorded else { return nil }
        let shares: [[[[Double]]]]
        do {
            let summary = try RunJSON.decode(Data(contentsOf: URL(fileURLWithPath: path)))
            shares = Self.shares(summary.experts?.heat ?? [], of: regions)
        } catch {
            throw Failure(
                .data, "cannot read the recorded run '\(path)': \(error)",
                hint: "name the run.json of a run with experts")
        }
        let isComplete =
            !shares.isEmpty
            && shares.allSatisfy { regions in
                !regions.isEmpty
                    && regions.allSatisfy { blocks in
                        !blocks.isEmpty && blocks.allSatisfy { $0.count == experts?.count }
                    }
            }
        guard isComplete else {
            throw Failure(
                .data, "'\(path)' has no shares of \(experts?.count ?? 0) experts",
                hint: "name the run.json of a run with as many experts as the file")
        }
        return RoutingTrace.Recorded(shares: shares)
    }

    /// Of the steps that all regions of the run have reported: those of `names`, where they are among them.
    private static func shares(
        _ heat: [RunSummary.Experts.Heat], of names: [String]
    ) -> [[[[Double]]]] {
        let most = heat.map(\.regions.count).max() ?? 0
        return heat.filter { $0.regions.count == most }.map { step in
            let named = names.compactMap { name in step.regions.first { $0.region == name } }
            return (named.count == names.count ? named : step.regions).map(\.blocks)
        }
    }

    func printJSON() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        print(String(decoding: try encoder.encode(result), as: UTF8.self))
    }

    var text: String {
        let places = zip(names, result.devices).map { "\($0) \(Figures.grouped(UInt64($1)))" }
        let shared = result.shared > 0 ? " + \(result.shared)" : ""
        let head =
            "routing: \(result.layers) layers, \(result.experts)\(shared) experts, "
            + "top-\(result.topK); devices: \(places.joined(separator: ", "))\n"
            + "tokens: \(source); across regions: \(scenario.across.rawValue)\n"
        let time = result.time
        let split = time.parts.map { part in
            (
                "  " + part.name,
                TextTable.padded(Figures.duration(part.seconds), 9, left: true) + "  "
                    + TextTable.padded(Figures.percent(part.seconds / time.total), 7, left: true)
            )
        }
        let speed = Figures.significant(scenario.teraflops)
        let rate = Figures.bitRate(Double(scenario.insideRate))
        let routed = Figures.grouped(result.routedTokens)
        let tokens = Figures.grouped(result.tokens)
        let lines = [
            head + Self.aligned(rows), "",
            "time of a step, slowest region, fullest link, nothing overlapped: "
                + Figures.duration(time.total), Self.aligned(split), "",
            "modelled: gates, balancing, capacity and placement are those that ship; times by "
                + "\(speed) Tflop/s and \(rate) a device",
            "\(routed) tokens routed for \(tokens) x \(result.layers) layers in "
                + "\(Figures.duration(seconds)); trace hash \(String(result.traceHash, radix: 16))",
        ]
        return lines.joined(separator: "\n")
    }

    private static func aligned(_ rows: [(String, String)]) -> String {
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { TextTable.padded($0.0, width) + "  " + $0.1 }.joined(separator: "\n")
    }

    private var source: String {
        if let path = scenario.recorded { return "drawn from the shares in \(path)" }
        return "skew \(Figures.significant(scenario.skew)), drift "
            + "\(Figures.significant(scenario.drift)) a step, topics "
            + "\(Figures.significant(scenario.topics)), \(scenario.tokens) per region and layer"
    }

    private var rows: [(String, String)] {
        func trend(_ mean: Double, _ first: Double, _ last: Double) -> String {
            "\(Figures.fixed(mean, 3))  (first tenth of the steps \(Figures.fixed(first, 3)), last "
                + "\(Figures.fixed(last, 3)))"
        }
        let waits =
            result.acrossWaitSeconds > 0
            ? ", \(Figures.duration(result.acrossWaitSeconds)) of a step's round trips" : ""
        return [
            ("drop rate", Figures.percent(result.dropRate)),
            (
                "MaxVio",
                trend(result.maxViolation, result.firstMaxViolation, result.lastMaxViolation)
            ),
            ("entropy of use", Figures.fixed(result.useEntropy, 3)),
            (
                "imbalance of devices",
                trend(result.imbalance, result.firstImbalance, result.lastImbalance)
            ),
            (
                "placements",
                "\(result.placements), \(Figures.percent(result.movedShare)) of the slots moved"
            ),
            ("devices per token and layer", Figures.fixed(result.devicesPerToken, 2)),
            (
                "between regions",
                "Jensen-Shannon \(Figures.fixed(result.jensenShannon, 3)) bit, Jaccard of the "
                    + "most used \(Figures.fixed(result.jaccard, 3))"
            ),
            (
                "bytes across per token",
                "\(Figures.bytes(result.activationBytesPerToken)) activations, "
                    + "\(Figures.bytes(result.parameterBytesPerToken)) parameters\(waits)"
            ),
        ] + budgetRows
    }

    private var budgetRows: [(String, String)] {
        guard let budget = result.budget else { return [] }
        let share =
            budget.share.map { Figures.percent($0) } ?? "auto: what outer rounds leave"
        var directions: [String] = []
        for (from, row) in budget.tokensPerStep.enumerated() {
            for (to, tokens) in row.enumerated() where to != from {
                directions.append(
                    "\(names[from]) -> \(names[to]) \(Figures.grouped(UInt64(tokens)))")
            }
        }
        let used = ", \(Figures.percent(budget.usedShare)) of it used"
        return [
            (
                "budget",
                "\(share) of a step of \(Figures.duration(budget.evenSeconds)) (even load)\(used)"
            ),
            ("tokens it lets across per step", directions.joined(separator: ", ")),
            (
                "tokens across",
                "\(Figures.percent(budget.crossedShare)) per layer; "
                    + "\(Figures.percent(budget.stayedShare)) wanted to and stayed"
            ),
            (
                "choices changed by that",
                "\(Figures.grouped(budget.changedChoices)), \(Figures.percent(budget.changedShare))"
            ),
            (
                "experts in one region only",
                "\(Figures.significant(budget.ownedExperts)) of \(result.experts) a layer; a "
                    + "placement fetches \(Figures.significant(budget.fetchedExperts)) a layer, "
                    + Figures.bytes(budget.fetchedBytes)
            ),
        ]
    }
}
