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
        let kinds: [(String, TransformID?)] = [
            ("int8", .int8), ("int4", .int4), ("e3m0", .e3m0), ("topk", .topK), ("bf16", .bf16),
            ("fp16", .fp16), ("fp32", .fp32), ("auto", nil),
        ]
        let between = section.value(
            .choice("between", of: "the encoding between regions", kinds))
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
        let isAuto = between.map { $0 == nil } ?? false
        var wire = RunConfiguration.Wire(
            insideRegion: inside ?? .fp32,
            betweenRegions: isAuto ? LinkCodec.start : (between ?? nil) ?? .fp32,
            errorFeedback: feedback ?? true)
        if isAuto { wire.choosesBetween = true }
        return wire
    }

    /// Where every step is a round there is no time between two rounds to choose for.
    func checkWire(
        _ top: Section, _ wire: RunConfiguration.Wire?, _ schedule: RunConfiguration.Schedule?
    ) -> Bool {
        guard wire?.choosesBetween == true else { return true }
        if schedule?.outer == .decoupled {
            top.section("wire", keys: nil)?.refuse(
                "between",
                "`between: auto` changes encodings at boundaries where all pause, and with "
                    + "`outer: decoupled` nobody waits for anybody",
                expected: "`between: auto` with `outer: diloco`, `local-sgd` or `streaming`",
                example: "between: int8")
            return false
        }
        guard schedule?.outer == .everyStep else { return true }
        top.section("wire", keys: nil)?.refuse(
            "between",
            "`between: auto` chooses by the time between two outer rounds, and with "
                + "`outer: every-step` there is none",
            expected: "`between: auto` with `outer: diloco`, `local-sgd` or `streaming`",
            example: "between: bf16")
        return false
    }
}
