/// Bounds on what a cluster file may ask for, each with its reason.
enum Limits {
    /// A file written by hand; 10,000 workers take about 600 KB.
    static let fileBytes = 1 << 20
    /// Regions are drawn, listed and linked pairwise: 64 make 2,016 links.
    static let regions = 64
    /// What the simulator is built for; ranks are 16 bits.
    static let workers = 10_000
    /// Names travel in frames and become file names.
    static let nameBytes = 64
    /// 2^31 steps of 1 ms are 24 days; steps travel as 32 bits.
    static let steps = 1 << 31
    /// Sequences per inner step of one worker: activations of the model must fit in memory.
    static let batch = 65_536
    /// Widths and contexts above these do not train on processors.
    static let width = 16_384
    static let layers = 1_024
    /// A worker holds seven vectors of them.
    static let syntheticParameters = 1 << 34
    /// Four times what the largest published models have in a layer.
    static let experts = 1_024
    /// Half of what may wait for one peer (CoordinationLimits.laneQueueMessages): every expert is a chunk
    /// of its own, and means may wait beside contributions.
    static let expertsOfModel = 32_768
    /// What a plan on the wire holds: fragments, and ranges of one.
    static let fragments = 256
    static let ranges = 256
    static let context = 65_536
    /// Longest delay, pace or deadline: one day, in nanoseconds.
    static let nanoseconds = 86_400 * 1_000_000_000.0
    /// A slower link is a mistake in the unit.
    static let bitsPerSecondLeast = 1_000.0
    static let bitsPerSecondMost = 1e12
    /// Half the circumference of the Earth.
    static let kilometres = 20_040.0
    /// The wire protocol's number of lanes.
    static let lanesMost = 16
    /// Written by hand; longer histories are traces.
    static let linkChanges = 1_000
}
