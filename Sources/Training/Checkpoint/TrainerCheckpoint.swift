/// A trainer's whole state in one safetensors file.
///
/// Live parameters are stored tensor by tensor as `model.<name>`, so that PyTorch loads them by
/// name; the other vectors flat, as `state.<vector>`; the counters as four integers.
package enum TrainerCheckpoint {
    private static let counters = "state.counters"

    /// Writes the state of `trainer`; replaces the file of that name at once or not at all.
    ///
    /// - Parameter metadata: the caller's own strings (run, step, digest), returned by `restore`.
    package static func save(
        _ trainer: some Trainer, path: String, metadata: [(key: String, value: String)]
    ) throws(SafetensorsError) {
        let vectors = trainer.stateVectors.filter { $0 != .parameters }
        let entries =
            trainer.tensors.map { floats("model.\($0.name)", $0.shape) }
            + vectors.map { floats(name($0), [trainer.parameterCount]) }
            + [SafetensorsEntry(name: counters, type: .int64, shape: [4])]
        let all = 0..<trainer.parameterCount
        try SafetensorsWriter.write(
            path: path, entries: entries, metadata: metadata
        ) { writer throws(SafetensorsError) in
            // The tensors follow each other without gaps in the flat vector, as in the file.
            for vector in [.parameters] + vectors {
                try trainer.withState(vector, range: all) { span throws(SafetensorsError) in
                    try writer.write(floats: span)
                }
            }
            try writer.write(integers: encode(trainer.counters))
        }
    }

    /// Sets the whole state of `trainer` from a file written by `save` for an equal model.
    ///
    /// Names, types and shapes are checked before the first byte is changed; a read error afterwards
    /// leaves the trainer unusable.
    ///
    /// - Returns: the caller's own strings.
    package static func restore(
        _ trainer: some Trainer, path: String
    ) throws(SafetensorsError) -> [(key: String, value: String)] {
        let file = try SafetensorsFile(path: path)
        let vectors = trainer.stateVectors.filter { $0 != .parameters }
        let needed =
            trainer.tensors.map { floats("model.\($0.name)", $0.shape) }
            + vectors.map { floats(name($0), [trainer.parameterCount]) }
            + [SafetensorsEntry(name: counters, type: .int64, shape: [4])]
        try require(needed, in: file)
        for tensor in trainer.tensors {
            try trainer.withMutableState(
                .parameters, range: tensor.range
            ) { span throws(SafetensorsError) in
                try file.read("model.\(tensor.name)", into: &span)
            }
        }
        for vector in vectors {
            try trainer.withMutableState(
                vector, range: 0..<trainer.parameterCount
            ) { span throws(SafetensorsError) in
                try file.read(name(vector), into: &span)
            }
        }
        trainer.counters = decode(try file.readIntegers(counters))
        return file.metadata
    }

    /// Sets the parameters of `trainer` (and its outer copy) from a model file: tensors by their names, as
    /// `longhaul up` and PyTorch write them. Momentum, moments and counters stay as at a start.
    package static func restoreParameters(
        _ trainer: some Trainer, path: String
    ) throws(SafetensorsError) {
        let file = try SafetensorsFile(path: path)
        try require(trainer.tensors.map { floats($0.name, $0.shape) }, in: file)
        for tensor in trainer.tensors {
            try trainer.withMutableState(
                .parameters, range: tensor.range
            ) { span throws(SafetensorsError) in
                try file.read(tensor.name, into: &span)
            }
        }
        trainer.resetOuterState()
    }

    private static func name(_ vector: StateVector) -> String {
        "state.\(vector.rawValue)"
    }

    private static func floats(_ name: String, _ shape: [Int]) -> SafetensorsEntry {
        SafetensorsEntry(name: name, type: .float32, shape: shape)
    }

    private static func require(
        _ needed: [SafetensorsEntry], in file: borrowing SafetensorsFile
    ) throws(SafetensorsError) {
        let found = Dictionary(uniqueKeysWithValues: file.entries.map { ($0.name, $0) })
        for entry in needed {
            guard let stored = found[entry.name] else {
                throw .unexpectedTensor(path: file.path, name: entry.name, reason: "missing")
            }
            if stored != entry {
                throw .unexpectedTensor(
                    path: file.path, name: entry.name,
                    reason: "is \(stored.type.rawValue) \(stored.shape), expected "
                        + "\(entry.type.rawValue) \(entry.shape)")
            }
        }
    }

    private static func encode(_ counters: TrainerCounters) -> [Int64] {
        [
            Int64(bitPattern: counters.innerSteps), Int64(bitPattern: counters.tokens),
            Int64(bitPattern: counters.beta1Power.bitPattern),
            Int64(bitPattern: counters.beta2Power.bitPattern),
        ]
    }

    private static func decode(_ values: [Int64]) -> TrainerCounters {
        var counters = TrainerCounters()
        counters.innerSteps = UInt64(bitPattern: values[0])
        counters.tokens = UInt64(bitPattern: values[1])
        counters.beta1Power = Double(bitPattern: UInt64(bitPattern: values[2]))
        counters.beta2Power = Double(bitPattern: UInt64(bitPattern: values[3]))
        return counters
    }
}
