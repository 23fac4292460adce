internal import ClusterModel

/// Model, training, deadlines and data.
extension FileReader {
    static let modelKeys = ["width", "layers", "heads", "context", "tied_head"] + expertKeys

    func readModel(_ top: Section) -> RunConfiguration.Model? {
        guard top.line(of: "model") != nil else { return .standard }
        guard let section = top.section("model", keys: Self.modelKeys + ["synthetic"]) else {
            return nil
        }
        if section.line(of: "synthetic") != nil { return readSynthetic(section) }
        let standard = RunConfiguration.Model.standard
        var reader = Defaults(section)
        var model = RunConfiguration.Model(
            width: reader.read(
                .count("width", 2...Limits.width, of: "width of the model", example: 128),
                standard.width),
            layers: reader.read(
                .count("layers", 1...Limits.layers, of: "layers", example: 2), standard.layers),
            heads: reader.read(
                .count("heads", 1...Limits.width, of: "attention heads", example: 4),
                standard.heads),
            context: reader.read(
                .count("context", 2...Limits.context, of: "bytes a sequence is long", example: 128),
                standard.context),
            tiedHead: reader.read(
                .flag("tied_head", of: "whether the head shares the embedding's values"),
                standard.tiedHead))
        guard reader.isSound else { return nil }
        guard model.width.isMultiple(of: model.heads) else {
            section.refuse(
                "heads", "\(model.heads) heads do not divide a width of \(model.width)",
                expected: "a number of heads that divides `width`", example: "heads: 4")
            return nil
        }
        guard Self.expertKeys.contains(where: { section.line(of: $0) != nil }) else { return model }
        model.experts = readExperts(section, model)
        return model.experts == nil ? nil : model
    }

    func readTraining(
        _ top: Section, steps: Int?, schedule: RunConfiguration.Schedule?
    ) -> RunConfiguration.Training? {
        let standard = RunConfiguration.Training.standard
        let longestWarmup = max(1, (steps ?? Limits.steps) / 10)
        let warmup = min(Int(standard.warmupSteps), longestWarmup)
        guard top.line(of: "training") != nil else {
            var training = standard
            training.warmupSteps = UInt32(warmup)
            return training
        }
        let keys = [
            "learning_rate", "warmup_steps", "final_share", "weight_decay", "clip_norm",
            "evaluate_every", "evaluation_samples", "checkpoint_every",
        ]
        guard let section = top.section("training", keys: keys) else { return nil }
        var reader = Defaults(section)
        let count = 0...Limits.steps
        let training = RunConfiguration.Training(
            learningRate: reader.read(
                .number("learning_rate", 1e-9...10, of: "the peak learning rate", example: "0.001"),
                standard.learningRate),
            warmupSteps: UInt32(
                reader.read(
                    .count("warmup_steps", count, of: "steps of warm-up", example: 20), warmup)),
            finalShare: reader.read(
                .number(
                    "final_share", 0...1, of: "share of the learning rate at the end",
                    example: "0.1"), standard.finalShare),
            weightDecay: reader.read(
                .number("weight_decay", 0...10, of: "weight decay", example: "0.1"),
                standard.weightDecay),
            clipNorm: reader.read(
                .number("clip_norm", 0...1e6, of: "largest gradient norm (0: none)", example: "1"),
                standard.clipNorm),
            evaluateEvery: UInt32(
                reader.read(
                    .count(
                        "evaluate_every", count, of: "steps between evaluations (0: at the end)",
                        example: 100), Int(standard.evaluateEvery))),
            evaluationSamples: reader.read(
                .count(
                    "evaluation_samples", 1...1_000_000, of: "sequences per evaluation",
                    example: 32), standard.evaluationSamples),
            checkpointEvery: UInt32(
                reader.read(
                    .count(
                        "checkpoint_every", count,
                        of: "outer rounds between checkpoints (0: at the end)", example: 5),
                    Int(standard.checkpointEvery))))
        guard reader.isSound else { return nil }
        let isEffective = checkTraining(section, training, steps: steps, schedule: schedule)
        return isEffective ? training : nil
    }

    private func checkTraining(
        _ section: Section, _ training: RunConfiguration.Training, steps: Int?,
        schedule: RunConfiguration.Schedule?
    ) -> Bool {
        guard let steps else { return true }
        var limits = [
            ("warmup_steps", training.warmupSteps, steps - 1, "the learning rate would never peak"),
            ("evaluate_every", training.evaluateEvery, steps, "it would never come"),
        ]
        if let schedule {
            limits.append(
                (
                    "checkpoint_every", training.checkpointEvery,
                    steps / Int(schedule.syncEvery), "it would never come"
                ))
        }
        var accepted = true
        for (key, value, most, why) in limits where section.line(of: key) != nil {
            guard Int(value) > most else { continue }
            accepted = false
            section.refuse(
                key, "\(value) is too much for a run of \(steps) steps: \(why)",
                expected: "at most \(most), or 0", example: "\(key): \(most)")
        }
        return accepted
    }

    func readDeadlines(_ top: Section, workers: Int?) -> RunConfiguration.Deadlines? {
        guard top.line(of: "deadlines") != nil else { return .standard }
        let keys = ["silence", "patience", "coordinator", "gathering", "minimum_workers"]
        guard let section = top.section("deadlines", keys: keys) else { return nil }
        let standard = RunConfiguration.Deadlines.standard
        var reader = Defaults(section)
        let deadlines = RunConfiguration.Deadlines(
            silence: reader.read(
                .duration("silence", of: "silence that evicts a worker", example: "15 s"),
                standard.silence),
            patience: reader.read(
                .duration("patience", of: "waiting before the run says so", example: "5 s"),
                standard.patience),
            coordinator: reader.read(
                .duration(
                    "coordinator", of: "how long workers train on without a coordinator",
                    example: "60 s"), standard.coordinator),
            gathering: reader.read(
                .duration(
                    "gathering", of: "how long the start waits for all workers", example: "60 s"),
                standard.gathering),
            minimumWorkers: reader.read(
                .count(
                    "minimum_workers", 1...Limits.workers, of: "workers the run can start with",
                    example: 1), standard.minimumWorkers))
        guard reader.isSound else { return nil }
        let shortest = RunConfiguration.Deadlines.shortestSilence
        if deadlines.silence < shortest {
            section.refuse(
                "silence",
                "workers would be evicted for a late heartbeat, and regions behind an outage before "
                    + "it is known for one: found " + Figures.duration(deadlines.silence.seconds),
                expected: "at least " + Figures.duration(shortest.seconds),
                example: "silence: 15 s")
            return nil
        }
        if deadlines.patience >= deadlines.silence {
            section.refuse(
                "patience",
                "nothing would ever be said: a silent worker is evicted after "
                    + Figures.duration(deadlines.silence.seconds),
                expected: "`patience` shorter than `silence`", example: "patience: 5 s")
            return nil
        }
        if let workers, deadlines.minimumWorkers > workers {
            section.refuse(
                "minimum_workers", "the run has \(workers) workers and would never start",
                expected: "at most \(workers)", example: "minimum_workers: \(workers)")
            return nil
        }
        return deadlines
    }

    func readData(_ top: Section) -> RunConfiguration.Data? {
        guard top.line(of: "data") != nil else { return .gcide }
        guard let section = top.section("data", keys: ["path"]) else { return nil }
        return section.required(
            Field(
                key: "path",
                expected:
                    "`gcide` (Webster 1913, Debian package dict-gcide) or an absolute path to a "
                    + "text that every worker's machine has",
                example: "gcide"
            ) { text in
                if text == "gcide" { return RunConfiguration.Data.gcide }
                guard text.hasPrefix("/"), text.utf8.count <= 1_024 else { return nil }
                return RunConfiguration.Data(path: text)
            })
    }
}

/// Reads keys that have defaults, and remembers whether one that is given was wrong.
struct Defaults {
    private let section: Section
    private(set) var isSound = true

    init(_ section: Section) { self.section = section }

    mutating func read<Value>(_ field: Field<Value>, _ standard: Value) -> Value {
        if let value = section.value(field) { return value }
        if section.line(of: field.key) != nil { isSound = false }
        return standard
    }

    /// Nil where it is not given; also where it is wrong, which is not sound.
    mutating func readIfGiven<Value>(_ field: Field<Value>) -> Value? {
        guard section.line(of: field.key) != nil else { return nil }
        let value = section.value(field)
        if value == nil { isSound = false }
        return value
    }

    /// A value that was read does not do.
    mutating func refuse(_ key: String, _ problem: String, expected: String, example: String) {
        isSound = false
        section.refuse(key, problem, expected: expected, example: example)
    }
}
