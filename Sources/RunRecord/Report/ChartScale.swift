internal import ClusterModel

/// Maps a range of values to a range of coordinates, with ticks at round values.
struct ChartScale {
    let values: ClosedRange<Double>
    let coordinates: (from: Double, to: Double)
    let ticks: [Double]
    private let step: Double

    /// - Parameters:
    ///   - data: what is to be shown; values that are not finite are left out.
    ///   - fromZero: whether the axis starts at 0.
    ///   - isTight: whether the axis ends with the data instead of at the next tick.
    init(
        _ data: [Double], to coordinates: (from: Double, to: Double), fromZero: Bool,
        tickCount: Int, isTight: Bool = false
    ) {
        let finite = data.filter(\.isFinite)
        var low = fromZero ? 0 : finite.min() ?? 0
        var high = finite.max() ?? 1
        if high <= low { high = low + (low == 0 ? 1 : low.magnitude * 0.1) }
        step = Self.roundStep((high - low) / Double(max(1, tickCount)))
        if !isTight {
            low = (low / step).rounded(.down) * step
            high = (high / step).rounded(.up) * step
        }
        let first = (low / step).rounded(.up)
        let last = (high / step + 1e-9).rounded(.down)
        values = low...high
        self.coordinates = coordinates
        ticks = [Double](stride(from: first, through: last, by: 1)).map { [step] in $0 * step }
    }

    func callAsFunction(_ value: Double) -> Double {
        let share = (value - values.lowerBound) / (values.upperBound - values.lowerBound)
        return coordinates.from + share * (coordinates.to - coordinates.from)
    }

    /// A tick with as many decimals as its step needs.
    func text(_ tick: Double) -> String {
        var decimals = 0
        var unit = 1.0
        while step < unit * 0.999, decimals < 9 {
            decimals += 1
            unit /= 10
        }
        return decimals == 0 ? Figures.grouped(tick) : Figures.fixed(tick, decimals)
    }

    /// 1, 2 or 5 times a power of ten, at least `raw`.
    private static func roundStep(_ raw: Double) -> Double {
        var power = 1.0
        while power * 10 <= raw { power *= 10 }
        while power > raw { power /= 10 }
        return [1.0, 2, 5, 10].map { $0 * power }.first { $0 >= raw * 0.999 } ?? power * 10
    }
}
