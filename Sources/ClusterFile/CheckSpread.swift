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
            let bytes = SpreadCost.bytesPerRow(
                width: model.width, topK: experts.topK, transform: experts.tokenWire)
            let perStep = Double(tokens) * rows * bytes * Double(model.layers)
            let leaves = Figures.bytes(perStep / Double(members))
            return
                "Experts are spread over the \(members) workers of \(region.name): a token is on "
                + "its way to \(Figures.significant(rows)) others (uniform use), forwards and backwards "
                + "in each of \(model.layers) layers, as \(experts.tokenWire): \(leaves) leave a worker "
                + "per step. Every worker keeps all weights."
        }
    }
}

/// The formulas of docs/algorithms.md, "Tokens to experts and back".
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

    /// There, back, and both again for the gradients; k words of experts and twice k of weights.
    static func bytesPerRow(width: Int, topK: Int, transform: TransformID) -> Double {
        let values = Double(width)
        let body =
            switch transform {
            case .bf16, .fp16: 2 * values
            case .int8: values + values / 64
            case .fp32, .int4, .e3m0, .topK: 4 * values
            }
        return 4 * body + 12 * Double(topK)
    }
}
