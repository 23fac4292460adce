internal import ClusterModel

extension CheckReport {
    /// What tokens cost where experts are spread: for each region, what leaves a worker in a step.
    static func spreadNotes(_ file: ClusterFile) -> [String] {
        guard let experts = file.configuration.model.experts, experts.spread == .region else {
            return []
        }
        let model = file.configuration.model
        return file.topology.regions.filter { $0.workers.count > 1 }.map { region in
            let members = region.workers.count
            let tokens = region.workers.reduce(0) { $0 + $1.microBatch } * model.context
            let rows = SpreadCost.rowsPerToken(
                experts: experts.count, topK: experts.topK, members: members)
            let visit = experts.visitBytes(width: model.width)
            let bytes = visit.there + visit.back
            let perStep = Double(tokens) * rows * bytes * Double(model.layers)
            let leaves = Figures.bytes(perStep / Double(members))
            return
                "Experts are spread over the \(members) workers of \(region.name): a token is on "
                + "its way to \(Figures.significant(rows)) others (uniform use), forwards and backwards "
                + "in each of \(model.layers) layers, as \(experts.tokenWire): \(leaves) leave a worker "
                + "per step. " + exchanged(file, workers: members)
                + kept(file.configuration)
        }
    }

    private static func kept(_ configuration: RunConfiguration) -> String {
        configuration.keepsExpertsAtHolders
            ? "Between rounds an expert is kept by who computes it: a worker that dies takes along what "
                + "its experts have learnt since the last one."
            : "Every worker keeps all weights."
    }

    /// What the gradients of a region of so many workers put on the wire in a step. Where every step is one
    /// collective of several regions, slices are the pool's.
    private static func exchanged(_ file: ClusterFile, workers members: Int) -> String {
        let configuration = file.configuration
        guard configuration.schedule.outer != .everyStep || file.topology.regions.count == 1 else {
            return "An expert's gradient leaves the worker that computes it only. "
        }
        let elements = configuration.model.parameterCount
        func bytes(_ spread: [ExpertBlock]) -> String {
            let traffic = RegionTraffic(
                elements: elements, workers: members, spread: spread,
                ordersByHolder: configuration.schedule.outer != .everyStep)
            return Figures.bytes(
                Double(traffic.values) * configuration.wire.insideRegion.storedBytesPerValue)
        }
        if configuration.keepsExpertsAtHolders {
            let experts = configuration.plannedExperts(elements: elements).elements
            let rest = RegionTraffic(elements: elements - experts, workers: members)
            let found = Figures.bytes(
                Double(rest.values) * configuration.wire.insideRegion.storedBytesPerValue)
            return "The workers all-reduce \(found) of gradients per step, none of an expert "
                + "(else \(bytes([]))). "
        }
        let alone = bytes(configuration.plannedExperts(elements: elements))
        return "The workers all-reduce \(alone) of gradients per step, since only who computes an "
            + "expert contributes it (else \(bytes([]))). "
    }
}

/// A formula of docs/algorithms.md, "Tokens to experts and back".
enum SpreadCost {
    /// Other workers that a token goes to, if all experts are used alike: worker i holds those from
    /// ceil(i E / W) to ceil((i + 1) E / W). Mean over where the token is.
    static func rowsPerToken(experts: Int, topK: Int, members: Int) -> Double {
        let held = (0..<members).map { member in
            (0..<experts).count { $0 * members / experts == member }
        }
        // Of all workers a token needs some; it is at each of them equally often.
        let needed = held.reduce(0.0) { sum, count in
            var none = 1.0
            for draw in 0..<topK {
                none *= max(0, Double(experts - count - draw)) / Double(experts - draw)
            }
            return sum + 1 - none
        }
        return needed * Double(members - 1) / Double(members)
    }
}
