internal import ClusterModel

/// A state transfer in one sentence, for progress and report.
enum StateText {
    static func text(_ taken: RunEvent.StateTaken, name: (WorkerID) -> String) -> String {
        let seconds = taken.took.seconds
        let from = taken.sources.map {
            "\(name($0.worker)) (\(Figures.bytes(Double($0.bytes))))"
        }.joined(separator: ", ")
        let rate = seconds > 0 ? Double(taken.bytes) / seconds : 0
        let kept = Figures.bytes(Double(taken.resumedBytes))
        var resumed = ""
        if taken.resumedBytes > 0 { resumed = "; \(kept) were in place when the plan changed" }
        let place = "step \(taken.step), round \(taken.round)"
        return "\(name(taken.worker)): took over the state of \(place) in "
            + "\(Figures.duration(seconds)), \(Figures.bytes(rate))/s, from \(from)\(resumed)"
    }
}
