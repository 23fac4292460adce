extension RunSummary.Definition {
    /// Printed beside the numbers, in run.json and in the report.
    package static let all: [RunSummary.Definition] = [
        .init(
            term: "CU",
            text:
                "Compute utilisation: time computing, pacing included, divided by the wall time of "
                + "the trainer thread since its first step. Of a region or the run: sums over "
                + "workers."
        ),
        .init(
            term: "tokens/s",
            text:
                "Tokens of distinct steps divided by the training time, from the start of the "
                + "first step to the last step applied or round committed; of a worker, by its "
                + "own wall time."
        ),
        .init(
            term: "training loss",
            text:
                "Mean cross-entropy in nats per byte, weighted by tokens, over the workers; the "
                + "final value is the mean of the last \(RunSummary.finalLossSteps) steps."),
        .init(
            term: "validation loss",
            text: "Cross-entropy in nats per byte on text no worker trains on, weighted by samples."
        ),
        .init(
            term: "time budget",
            text: "Wall time of the trainer thread: compute, encode, wait, transfer (only while it "
                + "blocks), decode, apply, recover. Work of other threads is not in it."),
        .init(
            term: "energy, cost",
            text:
                "From the device profiles of the cluster file, not measured. Energy = time at work "
                + "(compute with pacing, encode, decode, apply) x busy power + the rest of the "
                + "trainer's wall time x idle power. Cost = wall time x price per hour."),
        .init(
            term: "contended",
            text:
                "The trainer threads together took more than 75 % of this machine's cores: steps "
                + "waited for cores, and CU and E1 say less about the links."),
        .init(
            term: "relay bytes",
            text:
                "Bytes that crossed an emulated link, with framing, encryption and control traffic."
        ),
        .init(
            term: "lane bytes",
            text: "Frame bytes the workers handed to their lanes, before encryption."),
        .init(
            term: "bits per value",
            text: "Encoded bits of contributions and means divided by the values they carry; 32 is "
                + "fp32."),
        .init(
            term: "link fill",
            text:
                "Bytes of one outer round on the busiest direction divided by (rate x time between "
                + "rounds). A small run stands for a large one when this and the next ratio "
                + "agree."),
        .init(
            term: "round trip per step",
            text: "Round-trip time of the slowest link divided by the mean time of an inner step."),
    ]
}
