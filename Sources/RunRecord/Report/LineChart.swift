internal import ClusterModel

/// A chart of lines over a numeric axis as inline SVG. Colours are classes of the report's style
/// sheet, so that one drawing serves light, dark and print.
struct LineChart {
    struct Series {
        var name: String
        /// `pool`, `r0` ... `r7`, `limit`.
        var colour: String
        var points: [(x: Double, y: Double)]
        var mark = Mark.line

        enum Mark {
            case line, thinLine
            /// Behind the others: the mean they scatter around.
            case broadLine
            /// Joined dots: few values, each of them exact.
            case dots
            /// A value that holds until the next.
            case steps
        }
    }

    var title: String
    /// Read aloud instead of the drawing.
    var description: String
    var xLabel: String
    var yLabel: String
    var series: [Series]
    /// Horizontal line, such as a link's rate.
    var limit: (value: Double, name: String)?
    var yFromZero = false
    /// Upper end of the y axis at least, so that several charts can share a scale.
    var yAtLeast: Double?

    private static let width = 540.0
    private static let height = 300.0
    private static let plot = (left: 58.0, top: 30.0, right: 526.0, bottom: 254.0)
    /// More points than this per line cannot be told apart.
    private static let pointLimit = 500

    var markup: Markup {
        let points = series.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
        guard !points.isEmpty else {
            return """
                <figure class="chart"><figcaption>\(title)</figcaption>\
                <p class="empty">Nothing was recorded for this chart.</p></figure>
                """
        }
        let x = ChartScale(
            points.map(\.x), to: (Self.plot.left, Self.plot.right), fromZero: true, tickCount: 5,
            isTight: true)
        let y = ChartScale(
            points.map(\.y) + [limit?.value, yAtLeast].compactMap(\.self),
            to: (Self.plot.bottom, Self.plot.top), fromZero: yFromZero, tickCount: 5)
        return """
            <figure class="chart"><figcaption>\(title)</figcaption>
            <svg viewBox="0 0 \(Self.width) \(Self.height)" role="img" aria-label="\(description)">
            <title>\(title)</title><desc>\(description)</desc>
            \(grid(x, y))
            \(limitLine(y))
            \(series.map { line($0, x, y) })
            </svg>
            \(legend)</figure>
            """
    }

    private func grid(_ x: ChartScale, _ y: ChartScale) -> Markup {
        let rows = y.ticks.map { tick -> Markup in
            """
            <line class="grid" x1="\(Self.plot.left)" x2="\(Self.plot.right)" \
            y1="\(y(tick))" y2="\(y(tick))"/>\
            <text class="tick" x="\(Self.plot.left - 8)" y="\(y(tick) + 4)" \
            text-anchor="end">\(y.text(tick))</text>
            """
        }
        let columns = x.ticks.map { tick -> Markup in
            """
            <line class="tickmark" x1="\(x(tick))" x2="\(x(tick))" \
            y1="\(Self.plot.bottom)" y2="\(Self.plot.bottom + 5)"/>\
            <text class="tick" x="\(x(tick))" y="\(Self.plot.bottom + 20)" \
            text-anchor="middle">\(x.text(tick))</text>
            """
        }
        return """
            \(rows)
            \(columns)
            <line class="axis" x1="\(Self.plot.left)" x2="\(Self.plot.right)" \
            y1="\(Self.plot.bottom)" y2="\(Self.plot.bottom)"/>
            <text class="label" x="\(Self.plot.right)" y="\(Self.height - 8)" \
            text-anchor="end">\(xLabel)</text>
            <text class="label" x="8" y="16">\(yLabel)</text>
            """
    }

    private func limitLine(_ y: ChartScale) -> Markup {
        guard let limit else { return .nothing }
        return """
            <line class="limit" x1="\(Self.plot.left)" x2="\(Self.plot.right)" \
            y1="\(y(limit.value))" y2="\(y(limit.value))"/>\
            <text class="label" x="\(Self.plot.right)" y="\(y(limit.value) - 5)" \
            text-anchor="end">\(limit.name)</text>
            """
    }

    private func line(_ series: Series, _ x: ChartScale, _ y: ChartScale) -> Markup {
        let points = Self.thinned(series.points.filter { $0.x.isFinite && $0.y.isFinite })
        guard let first = points.first else { return .nothing }
        var path: Markup = "M\(x(first.x)) \(y(first.y))"
        var before = first
        for point in points.dropFirst() {
            if series.mark == .steps {
                path = path + "L\(x(before.x)) \(y(point.y))L\(x(point.x)) \(y(point.y))"
            } else {
                path = path + "L\(x(point.x)) \(y(point.y))"
            }
            before = point
        }
        let kind: String
        switch series.mark {
        case .line, .steps: kind = "line"
        case .thinLine: kind = "thin line"
        case .broadLine: kind = "broad line"
        case .dots: kind = "dotted line"
        }
        var marks: [Markup] = ["<path class=\"\(kind) \(series.colour)\" d=\"\(path)\"/>"]
        if series.mark == .dots {
            marks += points.map { point -> Markup in
                """
                <circle class="dot \(series.colour)" cx="\(x(point.x))" cy="\(y(point.y))" r="4">\
                <title>\(series.name): \(Figures.significant(point.y))</title></circle>
                """
            }
        }
        return "<g><title>\(series.name)</title>\(marks)</g>"
    }

    private var legend: Markup {
        guard series.count > 1 else { return .nothing }
        let items = series.map { series -> Markup in
            let kind: String
            switch series.mark {
            case .dots: kind = "key dots"
            case .broadLine: kind = "key broad"
            case .line, .thinLine, .steps: kind = "key"
            }
            return "<li><span class=\"\(kind) \(series.colour)\"></span>\(series.name)</li>"
        }
        return "<ul class=\"legend\">\(items)</ul>"
    }

    private static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
        guard points.count > pointLimit else { return points }
        let stride = (points.count + pointLimit - 1) / pointLimit
        return points.enumerated()
            .filter { $0.offset.isMultiple(of: stride) || $0.offset == points.count - 1 }
            .map(\.element)
    }
}
