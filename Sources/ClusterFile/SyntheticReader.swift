internal import ClusterModel

/// `model: {synthetic: PARAMETERS}`: nothing is learnt, so everything that says how to learn is refused.
extension FileReader {
    /// Also the model itself; nil if it is wrong.
    func readSynthetic(_ section: Section) -> RunConfiguration.Model? {
        let most = Limits.syntheticParameters
        guard
            let parameters = section.value(
                .count(
                    "synthetic", RunConfiguration.Model.syntheticLayers...most,
                    of: "parameters of a model that learns nothing", example: 67_108_864))
        else { return nil }
        let others = Self.modelKeys.filter { section.line(of: $0) != nil }
        for key in others {
            section.refuse(
                key, "`\(key)` would do nothing: a synthetic model is a number of parameters",
                expected: "`synthetic` alone, or a model without it",
                example: "model: {synthetic: \(parameters)}")
        }
        return others.isEmpty ? .synthetic(parameters: parameters) : nil
    }

    /// Groups and keys outside `model` that a synthetic trainer has no use for.
    func checkSynthetic(_ top: Section, model: RunConfiguration.Model?, topology: Topology?) {
        guard model?.synthetic != nil else { return }
        if top.line(of: "data") != nil {
            top.refuse(
                "data", "a synthetic model reads no text",
                expected: "no `data` beside `model: {synthetic: ...}`", example: "remove `data`")
        }
        // Regions that are wrong have been refused already.
        let regions = topology == nil ? nil : top.section("regions", keys: nil)
        for entry in regions?.entries ?? [] {
            guard let region = regions?.section(entry.key, keys: nil),
                region.line(of: "text") != nil
            else { continue }
            region.refuse(
                "text", "a synthetic model reads no text",
                expected: "no `text` beside `model: {synthetic: ...}`", example: "remove `text`")
        }
        guard let training = top.section("training", keys: nil) else { return }
        let keys = [
            "learning_rate", "warmup_steps", "final_share", "weight_decay", "clip_norm",
            "evaluation_samples",
        ]
        for key in keys where training.line(of: key) != nil {
            training.refuse(
                key, "`\(key)` would do nothing: a synthetic model learns nothing",
                expected: "only `evaluate_every` and `checkpoint_every`",
                example: "remove `\(key)`")
        }
    }
}
