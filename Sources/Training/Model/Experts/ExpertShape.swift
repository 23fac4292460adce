package import ClusterModel
package import ExpertRouting
import TrainingKernels

/// How a gate's selection biases are kept, so that experts are used alike.
package enum ExpertBalance: String, Codable, CaseIterable, Sendable {
    /// Biases stay zero.
    case none
    /// By the sign of mean load - load (`BiasBalancer`).
    case bias
    /// By quantiles of what scores lack (`QuantileHistogram`).
    case quantile

    init(_ balance: RunConfiguration.Model.Experts.Balance) {
        switch balance {
        case .none: self = .none
        case .bias: self = .bias
        case .quantile: self = .quantile
        }
    }
}

/// The feed-forward layer of every block as a mixture of experts.
package struct ExpertShape: Codable, Sendable, Equatable {
    /// Routed experts of a block.
    package var count: Int
    /// Experts a token uses.
    package var topK: Int
    /// Hidden width of one expert; a multiple of 8.
    package var width: Int
    /// Experts every token uses besides; computed as one of `shared` times the width.
    package var shared: Int
    package var scoring: ExpertGate.Scoring
    /// Equal groups of experts, and how many of them a token may use.
    package var groups: Int
    package var keptGroups: Int
    package var balance: ExpertBalance
    /// What a selection bias moves by in a step under `balance: bias`.
    package var balanceRate: Float
    /// Capacity factor of a sequence (`ExpertCapacity`); 0 = no token is dropped.
    package var capacity: Double
    /// Weight alpha of the sequence-wise balance loss; 0 = none.
    package var sequenceLoss: Float

    package init(
        count: Int, topK: Int = 2, width: Int, shared: Int = 0,
        scoring: ExpertGate.Scoring = .softmax, groups: Int = 1, keptGroups: Int = 1,
        balance: ExpertBalance = .bias, balanceRate: Float = 0.001, capacity: Double = 0,
        sequenceLoss: Float = 0
    ) {
        self.count = count
        self.topK = topK
        self.width = width
        self.shared = shared
        self.scoring = scoring
        self.groups = groups
        self.keptGroups = keptGroups
        self.balance = balance
        self.balanceRate = balanceRate
        self.capacity = capacity
        self.sequenceLoss = sequenceLoss
    }

    /// As a cluster file has it.
    package init(_ experts: RunConfiguration.Model.Experts) {
        self.init(
            count: experts.count, topK: experts.topK, width: experts.width, shared: experts.shared,
            scoring: experts.gate == .softmax ? .softmax : .sigmoid, groups: experts.groups,
            keptGroups: experts.groupsKept, balance: ExpertBalance(experts.balance),
            balanceRate: Float(experts.balanceRate), capacity: experts.capacity,
            sequenceLoss: Float(experts.sequenceLoss))
    }

    package var sharedWidth: Int { shared * width }

    /// Weights of the chosen sum to 1; with one expert that would be always 1 and teach the gate nothing, so
    /// then the weight is the score (Fedus et al. 2021, arXiv 2101.03961).
    var gate: ExpertGate {
        ExpertGate(
            groupSizes: Array(repeating: count / groups, count: groups), keptGroups: keptGroups,
            topK: topK, scoring: scoring, normalises: topK > 1)
    }

    /// Rows an expert takes of a sequence; nil: all.
    func rowLimit(context: Int) -> Int? {
        ExpertCapacity.rows(topK: topK, factor: capacity, tokens: context, experts: count)
    }

    func validate(context: Int) throws(ModelShapeError) {
        try ModelShape.require(count, in: 2...1_024, "experts")
        try ModelShape.require(topK, in: 1...min(count, 64), "topK")
        try ModelShape.require(width, in: 8...65_536, "expertWidth")
        try ModelShape.require(shared, in: 0...64, "sharedExperts")
        try ModelShape.require(groups, in: 1...count, "groups")
        try ModelShape.require(keptGroups, in: 1...groups, "keptGroups")
        if width % laneCount != 0 { throw .notAMultiple(name: "expertWidth", value: width, of: 8) }
        if count % groups != 0 { throw .notAMultiple(name: "experts", value: count, of: groups) }
        try ModelShape.require(topK, in: 1...(keptGroups * (count / groups)), "topK")
        if let rows = rowLimit(context: context) {
            try ModelShape.require(rows, in: 1...Int.max, "rows of an expert's capacity")
        }
    }

    /// Tensors of a block, in the order of the flat vector.
    func append(to list: inout TensorList, _ name: String, dModel: Int, layer: Int) {
        list.append(name + "gate.weight", [count, dModel], layer, .matrix)
        for expert in 0..<count {
            let name = name + "experts.\(expert)."
            list.appendPair(name + "up", [width, dModel], layer, .matrix)
            list.appendPair(name + "down", [dModel, width], layer, .matrix)
        }
        if shared > 0 {
            let name = name + "shared_experts."
            list.appendPair(name + "up", [sharedWidth, dModel], layer, .matrix)
            list.appendPair(name + "down", [dModel, sharedWidth], layer, .matrix)
        }
    }

    /// What no gradient trains, of one block; lies behind all trained tensors.
    func appendUntrained(to list: inout TensorList, _ name: String, layer: Int) {
        list.append(name + "gate.e_score_correction_bias", [count], layer, .selectionBias)
        if balance == .quantile {
            list.append(
                name + "gate.lack_histogram", [count, QuantileBins.count], layer,
                .statistic)
        }
    }
}
