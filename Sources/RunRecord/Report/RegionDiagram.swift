internal import ClusterModel
internal import Foundation

/// Regions and the links between them as inline SVG: two regions side by side with their workers,
/// more of them on a circle.
struct RegionDiagram {
    let summary: RunSummary

    /// More regions than this only fit in the table of links.
    static let regionLimit = 8
    private static let workerRows = 5

    private typealias Point = (x: Double, y: Double)

    /// What is not real about the links.
    private var kind: String {
        if summary.identity.simulated != nil { return "modelled" }
        return summary.identity.emulated ? "emulated" : ""
    }

    var markup: Markup {
        switch summary.regions.count {
        case 1: one
        case 2: two
        case 3...Self.regionLimit: circle
        default: .nothing
        }
    }

    private func figure(width: Double, height: Double, _ content: [Markup]) -> Markup {
        let description = summary.regions.map { "\($0.name): \($0.workers) workers" }
            .joined(separator: "; ")
        return """
            <figure class="diagram">
            <svg viewBox="0 0 \(width) \(height)" role="img" aria-label="\(description)">
            <title>Regions and links</title><desc>\(description)</desc>
            \(content)
            </svg></figure>
            """
    }

    private var one: Markup {
        let height = boxHeight
        return figure(width: 480, height: height + 20, [box(0, x: 150, y: 10, width: 180)])
    }

    private var two: Markup {
        let height = boxHeight
        let names = summary.regions.map(\.name)
        let middle = 10 + height / 2
        let there = link(names[0], names[1])
        let back = link(names[1], names[0])
        let rate = there?.rateBitsPerSecond.map { Figures.bitRate(Double($0)) }
        return figure(
            width: 480, height: height + 20,
            [
                """
                <line class="wire" x1="166" x2="314" y1="\(middle)" y2="\(middle)"/>
                <text class="label mid" x="240" y="\(middle - 46)">\
                \(there?.distanceKilometres.map { "\(Figures.grouped($0)) km" } ?? "")</text>
                <text class="label mid strong" x="240" y="\(middle - 28)">\
                \(rate ?? (there == nil ? "" : "rate not limited"))</text>
                <text class="label mid r0text" x="240" y="\(middle - 9)">\
                \(there.map { traffic($0) + " \u{2192}" } ?? "")</text>
                <text class="label mid r1text" x="240" y="\(middle + 19)">\
                \(back.map { "\u{2190} " + traffic($0) } ?? "")</text>
                <text class="label mid" x="240" y="\(middle + 38)">\
                \(there?.roundTripSeconds.map { "\(Figures.duration($0)) round trip" } ?? "")</text>
                <text class="label mid" x="240" y="\(middle + 55)">\
                \(kind)</text>
                """,
                box(0, x: 6, y: 10, width: 160), box(1, x: 314, y: 10, width: 160),
            ])
    }

    private var circle: Markup {
        let count = summary.regions.count
        let centre: Point = (240, 190)
        let places = (0..<count).map { index -> Point in
            let angle = 2 * Double.pi * Double(index) / Double(count) - Double.pi / 2
            return (centre.x + 165 * cos(angle), centre.y + 150 * sin(angle))
        }
        var lines: [Markup] = []
        for a in 0..<count {
            for b in (a + 1)..<max(count, a + 1) {
                let facts = link(summary.regions[a].name, summary.regions[b].name)
                let text = [
                    facts?.rateBitsPerSecond.map { Figures.bitRate(Double($0)) },
                    facts?.roundTripSeconds.map(Figures.duration),
                ].compactMap(\.self).joined(separator: ", ")
                lines.append(
                    """
                    <line class="wire" x1="\(places[a].x)" y1="\(places[a].y)" \
                    x2="\(places[b].x)" y2="\(places[b].y)">\
                    <title>\(summary.regions[a].name) - \(summary.regions[b].name) \(text)</title>\
                    </line>
                    """)
            }
        }
        let boxes = places.enumerated().map { index, place -> Markup in
            let region = summary.regions[index]
            return """
                <rect class="box" x="\(place.x - 62)" y="\(place.y - 26)" width="124" height="52" \
                rx="8"/>\
                <text class="name mid" x="\(place.x)" y="\(place.y - 5)">\
                \(shortened(region.name, to: 14))</text>\
                <text class="label mid" x="\(place.x)" y="\(place.y + 14)">\
                \(region.workers) workers</text>
                """
        }
        return figure(width: 480, height: 380, lines + boxes)
    }

    private var boxHeight: Double {
        let rows = summary.regions.map { min($0.workers, Self.workerRows + 1) }.max() ?? 1
        return 82 + 20 * Double(rows)
    }

    private func box(_ index: Int, x: Double, y: Double, width: Double) -> Markup {
        let region = summary.regions[index]
        let workers = summary.workers.filter { $0.region == region.name }
        let paces = Set(workers.map(\.nominalStepSeconds))
        let isEven = paces.count == 1
        var rows = workers.prefix(Self.workerRows).map { worker in
            (
                shortened(worker.name, to: isEven ? 16 : 10),
                "\(worker.microBatch)" + (isEven ? "" : " / \(pace(worker.nominalStepSeconds))")
            )
        }
        rows.insert(
            (isEven ? "step \(pace(paces.first ?? 0))" : "", isEven ? "batch" : "batch / step"),
            at: 0)
        if workers.count > Self.workerRows {
            rows.append(("and \(workers.count - Self.workerRows) more", ""))
        }
        let lines = rows.enumerated().map { row, cells -> Markup in
            let baseline = y + 68 + 20 * Double(row)
            return """
                <text class="small" x="\(x + 12)" y="\(baseline)">\(cells.0)</text>\
                <text class="small" x="\(x + width - 12)" y="\(baseline)" text-anchor="end">\
                \(cells.1)</text>
                """
        }
        let rate = region.tokensPerSecond.map { "\(Figures.grouped($0)) tokens/s" } ?? ""
        return """
            <rect class="box" x="\(x)" y="\(y)" width="\(width)" height="\(boxHeight)" rx="8"/>
            <rect class="fill r\(index)" x="\(x)" y="\(y)" width="\(width)" height="5" rx="2.5"/>
            <text class="name" x="\(x + 12)" y="\(y + 27)">\(shortened(region.name, to: 16))</text>
            <text class="label" x="\(x + 12)" y="\(y + 46)">\(rate)</text>
            \(lines)
            """
    }

    private func pace(_ seconds: Double) -> String {
        seconds > 0 ? Figures.duration(seconds) : "not paced"
    }

    /// Names of up to 64 characters must fit their box; the tables have them whole.
    private func shortened(_ name: String, to count: Int) -> String {
        name.count <= count ? name : name.prefix(count - 1) + "\u{2026}"
    }

    private func link(_ from: String, _ to: String) -> RunSummary.Link? {
        summary.links.first { $0.from == from && $0.to == to }
    }

    private func traffic(_ link: RunSummary.Link) -> String {
        Figures.bytes(Double(link.relayBytes ?? link.laneBytes))
    }
}
