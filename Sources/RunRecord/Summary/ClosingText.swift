internal import ClusterModel

extension RunSummary.Rounds.Closing {
    /// Completes "closed 12: ".
    var text: String {
        "\(withEverybody) with everybody, \(closed - withEverybody) without waiting for all, "
            + "\(Figures.duration(secondsOpen)) after the first offer in the mean; "
            + "\(mergedLate) contributions merged late"
            + (mergedLate == 0
                ? ""
                : ", having missed \(Figures.significant(Double(roundsMissed) / Double(mergedLate))) "
                    + "rounds")
    }
}
