/// The link rate between two replicas that a compute utilisation needs: the layer-granular model of
/// Streaming DiLoCo (Douillard et al. 2025, arXiv 2501.18512, Table 4). Only the bandwidth between
/// replicas counts, no latency; two replicas, so a reduction moves each parameter once.
///
/// A step is a chain over L layers: forwards 0 ... L-1, then backwards L-1 ... 0. With
/// u = T / (3 L - 1) a forward takes u and a backward 2 u, except that the first layer's backward
/// takes u: nothing needs the gradient of its input. A layer's reduction starts when its backward has
/// ended and the link is free (first come, first served), takes V / (L W), and is due at the forward
/// of that layer in the next step, `overlap` steps later.
package struct BandwidthModel: Equatable, Sendable {
    package enum Method: String, CaseIterable, Sendable {
        /// All layers in every step.
        case dataParallel = "data-parallel"
        /// All layers every `syncEvery` steps.
        case diloco
        /// One fragment of the layers at a time, evenly staggered over `syncEvery` steps.
        case streaming
    }

    /// What within a step a reduction can hide behind.
    package enum Granularity: String, CaseIterable, Sendable {
        /// The paper's: a layer's reduction starts when its own backward has ended and is due at its own
        /// forward.
        case layer
        /// Longhaul's: a fragment leaves when the step has ended, and is due when another has, before
        /// anything of the next begins.
        case step
    }

    package var parameters: Double
    package var layers: Int
    /// Seconds of compute per step.
    package var stepTime: Double
    package var method: Method
    /// H. Of no account for data-parallel.
    package var syncEvery: Int
    /// Layers of one fragment; all of them, one fragment.
    package var fragmentLayers: Int
    /// Steps between a reduction's start and the step whose forward needs it, beyond the next one.
    package var overlap: Int
    /// Per parameter on the link.
    package var bits: Double
    package var granularity: Granularity
    /// Times `syncEvery`: how long a run is modelled.
    package var periods: Int

    package init(
        parameters: Double, layers: Int, stepTime: Double, method: Method, syncEvery: Int,
        fragmentLayers: Int? = nil, overlap: Int = 0, bits: Double = 16,
        granularity: Granularity = .layer, periods: Int = 3
    ) {
        precondition(layers > 0 && syncEvery > 0 && overlap >= 0)
        precondition(parameters > 0 && stepTime > 0 && bits > 0)
        self.parameters = parameters
        self.layers = layers
        self.stepTime = stepTime
        self.method = method
        self.syncEvery = syncEvery
        self.fragmentLayers = min(layers, max(1, fragmentLayers ?? layers))
        self.overlap = overlap
        self.bits = bits
        self.granularity = granularity
        self.periods = periods
    }

    /// Steps that are modelled: enough for the schedule to repeat itself, three times if not told otherwise.
    package var steps: Int { method == .dataParallel ? 30 : periods * syncEvery }

    private var fragments: Int { max(1, layers / fragmentLayers) }

    /// Whether `layer` is reduced after step `step` (both count from 0 and 1).
    func isReduced(layer: Int, after step: Int) -> Bool {
        switch method {
        case .dataParallel: return true
        case .diloco: return step % syncEvery == 0
        case .streaming:
            let fragment = layer % fragments
            return (step - fragment * syncEvery / fragments) % syncEvery == 0
        }
    }

    /// Share of the time spent computing with a link of `rate` bits per second.
    package func utilisation(rate: Double) -> Double {
        precondition(rate > 0)
        return switch granularity {
        case .layer: utilisationByLayer(rate)
        case .step: utilisationByStep(rate)
        }
    }

    private func utilisationByStep(_ rate: Double) -> Double {
        let transfer = parameters * bits / (Double(layers) * rate)
        var due = [Double](repeating: 0, count: steps + overlap + 1)
        var now = 0.0
        var linkFree = 0.0
        for step in 1...steps {
            now += stepTime
            for layer in 0..<layers where isReduced(layer: layer, after: step) {
                linkFree = max(linkFree, now) + transfer
                due[step + overlap] = linkFree
            }
            now = max(now, due[step])
        }
        return Double(steps) * stepTime / max(now, linkFree)
    }

    private func utilisationByLayer(_ rate: Double) -> Double {
        let unit = stepTime / Double(3 * layers - 1)
        let transfer = parameters * bits / (Double(layers) * rate)
        // When the reduction that a layer's forward must wait for has ended, by steps still to go.
        var due = [[Double]](repeating: [Double](repeating: 0, count: overlap + 1), count: layers)
        var now = 0.0
        var linkFree = 0.0
        for step in 1...steps {
            for layer in 0..<layers {
                now = max(now, due[layer][step % (overlap + 1)]) + unit
            }
            for layer in stride(from: layers - 1, through: 0, by: -1) {
                now += layer == 0 ? unit : 2 * unit
                guard isReduced(layer: layer, after: step) else { continue }
                linkFree = max(linkFree, now) + transfer
                // Needed `overlap` steps later than the next step.
                due[layer][(step + 1 + overlap) % (overlap + 1)] = linkFree
            }
        }
        return Double(steps) * stepTime / max(now, linkFree)
    }

    /// The lowest rate, in bits per second, whose utilisation reaches `target`: by halving, to one part
    /// in 10^9; nil if no rate does (a target of 1 or more).
    package func rate(utilisation target: Double) -> Double? {
        guard target < 1 else { return nil }
        guard target > 0 else { return 0 }
        var low = 1.0
        var high = 1.0
        while utilisation(rate: high) < target {
            low = high
            high *= 4
            guard high < 1e30 else { return nil }
        }
        while high / low > 1 + 1e-9 {
            let middle = (low * high).squareRoot()
            if utilisation(rate: middle) < target { low = middle } else { high = middle }
        }
        return high
    }
}
