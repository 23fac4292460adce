internal import ClusterModel
internal import Foundation

/// Regions and the links between them as inline SVG: two regions side by side with their workers, more
/// of them on a circle.
struct RegionDiagram {
    let summary: RunSummary

    /// More regions than this only fit in the table of links.
    static let regionLimit = 8
    private static let workerRows = 5

    private typealias Point = (x: Double, y: Double)

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
        return figure(width: 560, height: height + 20, [box(0, x: 180, y: 10, width: 200)])
    }

    private var two: Markup {
        let height = boxHeight
        let names = summary.regions.map(\.name)
        let middle = 10 + height / 2
        let there = link(names[0], names[1])
        let back = link(names[1], names[0])
        let facts = [
            there?.distanceKilometres.map { "\(Figures.grouped($0)) km" },
            there?.roundTripSeconds.map { "\(Figures.duration($0)) RTT" },
        ].compactMap(\.self).joined(separator: ", ")
        let rate = there?.rateBitsPerSecond.map { Figures.bitRate(Double($0)) }
        return figure(
            width: 560, height: height + 20,
            [
                """
                <line class="wire" x1="170" x2="390" y1="\(middle)" y2="\(middle)"/>
                <text class="label mid" x="280" y="\(middle - 46)">\(facts)</text>
                <text class="label mid strong" x="280" y="\(middle - 28)">\
                \(rate ?? (there == nil ? "" : "rate not limited"))</text>
                <text class="label mid r0text" x="280" y="\(middle - 9)">\
                \(there.map { traffic($0) + " \u{2192}" } ?? "")</text>
                <text class="label mid r1text" x="280" y="\(middle + 19)">\
                \(back.map { "\u{2190} " + traffic($0) } ?? "")</text>
                <text class="label mid" x="280" y="\(middle + 40)">\
                \(summary.identity.emulated ? "emulated link" : "")</text>
                """,
                box(0, x: 10, y: 10, width: 160), box(1, x: 390, y: 10, width: 160),
            ])
    }

    private var circle: Markup {
        let count = summary.regions.count
        let centre: Point = (280, 200)
        let places = (0..<count).map { index -> Point in
            let angle = 2 * Double.pi * Double(index) / Double(count) - Double.pi / 2
            return (centre.x + 190 * cos(angle), centre.y + 150 * sin(angle))
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
                <text class="name mid" x="\(place.x)" y="\(place.y - 5)">\(region.name)</text>\
                <text class="label mid" x="\(place.x)" y="\(place.y + 14)">\
                \(region.workers) workers</text>
                """
        }
        return figure(width: 560, height: 400, lines + boxes)
    }

    private var boxHeight: Double {
        let rows = summary.regions.map { min($0.workers, Self.workerRows + 1) }.max() ?? 1
        return 62 + 20 * Double(rows)
    }

    private func box(_ index: Int, x: Double, y: Double, width: Double) -> Markup {
        let region = summary.regions[index]
        let workers = summary.workers.filter { $0.region == region.name }
        var rows = workers.prefix(Self.workerRows).map { worker in
            let pace = worker.nominalStepSeconds > 0
                ? ", \(Figures.duration(worker.nominalStepSeconds))" : ""
            return "\(worker.name): batch \(worker.microBatch)\(pace)"
        }
        if workers.count > Self.workerRows {
            rows.append("and \(workers.count - Self.workerRows) more")
        }
        let lines = rows.enumerated().map { row, text -> Markup in
            """
            <text class="small" x="\(x + 12)" y="\(y + 66 + 20 * Double(row))">\(text)</text>
            """
        }
        let rate = region.tokensPerSecond.map { "\(Figures.grouped($0)) tokens/s" } ?? ""
        return """
            <rect class="box" x="\(x)" y="\(y)" width="\(width)" height="\(boxHeight)" rx="8"/>
            <rect class="fill r\(index)" x="\(x)" y="\(y)" width="\(width)" height="5" rx="2.5"/>
            <text class="name" x="\(x + 12)" y="\(y + 28)">\(region.name)</text>
            <text class="label" x="\(x + 12)" y="\(y + 46)">\(rate)</text>
            \(lines)
            """
    }

    private func link(_ from: String, _ to: String) -> RunSummary.Link? {
        summary.links.first { $0.from == from && $0.to == to }
    }

    private func traffic(_ link: RunSummary.Link) -> String {
        Figures.bytes(Double(link.relayBytes ?? link.laneBytes))
    }
}
