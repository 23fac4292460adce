internal import ClusterModel

/// How values are encoded inside and between regions.
extension FileReader {
    func readWire(_ top: Section, topology: Topology?) -> RunConfiguration.Wire? {
        guard top.line(of: "wire") != nil else {
            return .init(insideRegion: .fp32, betweenRegions: .fp32)
        }
        guard let section = top.section("wire", keys: ["inside", "between", "error_feedback"])
        else { return nil }
        let inside = section.value(
            .choice(
                "inside", of: "the encoding inside a region", [("fp32", TransformID.fp32)]))
        let between = section.value(
            .choice(
                "between", of: "the encoding between regions",
                [
                    ("int8", TransformID.int8), ("int4", .int4), ("e3m0", .e3m0),
                    ("topk", .topK), ("bf16", .bf16), ("fp16", .fp16), ("fp32", .fp32),
                ]))
        let feedback = section.value(
            .choice(
                "error_feedback", of: "whether what a transform withholds is sent later",
                [("on", true), ("off", false)]))
        if topology?.regions.count == 1, section.line(of: "between") != nil {
            section.refuse(
                "between", "`between` would do nothing: there is one region",
                expected: "`between` only with two regions or more", example: "wire: {inside: fp32}"
            )
            return nil
        }
        guard inside != nil || section.line(of: "inside") == nil,
            between != nil || section.line(of: "between") == nil
        else { return nil }
        return .init(
            insideRegion: inside ?? .fp32, betweenRegions: between ?? .fp32,
            errorFeedback: feedback ?? true)
    }
}
