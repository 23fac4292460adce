internal import ClusterModel

/// What happened besides training: marks over time and a list.
struct Timeline {
    let summary: RunSummary

    /// Rows of the list; all are in run.json.
    static let listLimit = 40
    private static let left = 120.0
    private static let right = 1040.0
    private static let lanes: [(kind: RunSummary.Incident.Kind, name: String)] = [
        (.joined, "joined"), (.epoch, "epoch"), (.waiting, "waiting"), (.evicted, "evicted"),
        (.left, "left"), (.coordinatorLost, "outage"), (.violation, "violation"),
        (.checkpoint, "checkpoint"), (.checkpointFailed, "failed save"),
        (.stateTaken, "state taken"),
    ]

    var markup: Markup {
        let used = Self.lanes.filter { lane in
            summary.incidents.contains { $0.kind == lane.kind }
        }
        return """
            \(used.isEmpty ? .nothing : drawing(used))
            \(list)
            """
    }

    private func drawing(_ used: [(kind: RunSummary.Incident.Kind, name: String)]) -> Markup {
        let bottom = 10 + 26 * Double(used.count)
        let ends = summary.incidents.map { $0.endSeconds ?? $0.seconds }
        let last = max(summary.pool.wallSeconds, ends.max() ?? 0)
        let x = ChartScale(
            [last], to: (Self.left, Self.right), fromZero: true, tickCount: 8, isTight: true)
        let rows = used.enumerated().map { index, lane -> Markup in
            let y = 23 + 26 * Double(index)
            let marks = summary.incidents.filter { $0.kind == lane.kind }.map { mark($0, x, y) }
            return """
                <text class="tick" x="\(Self.left - 12)" y="\(y + 4)" text-anchor="end">\
                \(lane.name)</text>
                <line class="grid" x1="\(Self.left)" x2="\(Self.right)" y1="\(y)" y2="\(y)"/>
                \(marks)
                """
        }
        let ticks = x.ticks.map { tick -> Markup in
            """
            <text class="tick" x="\(x(tick))" y="\(bottom + 22)" text-anchor="middle">\
            \(Figures.duration(tick))</text>
            """
        }
        return """
            <div class="scroll"><svg class="timeline" viewBox="0 0 1060 \(bottom + 32)" role="img" \
            aria-label="Events over time; the list below has them as text">
            <title>Events over time</title>
            \(rows)
            \(ticks)
            </svg></div>
            """
    }

    private func mark(_ incident: RunSummary.Incident, _ x: ChartScale, _ y: Double) -> Markup {
        let start = x(incident.seconds)
        let title: Markup =
            "<title>\(WaitText.clock(incident.seconds)) \(incident.text)</title>"
        guard let end = incident.endSeconds, x(end) - start > 8 else {
            return """
                <circle class="k-\(incident.kind.rawValue)" cx="\(start)" cy="\(y)" r="5">\
                \(title)</circle>
                """
        }
        return """
            <rect class="k-\(incident.kind.rawValue)" x="\(start)" y="\(y - 5)" \
            width="\(x(end) - start)" height="10" rx="3">\(title)</rect>
            """
    }

    private var list: Markup {
        let rows = summary.incidents.prefix(Self.listLimit).map { incident -> Markup in
            let length = incident.endSeconds.map { Figures.duration($0 - incident.seconds) } ?? ""
            return """
                <tr><td class="num">\(WaitText.clock(incident.seconds))</td>\
                <td>\(incident.kind.rawValue.split(separator: "_").joined(separator: " "))</td>\
                <td>\(incident.text)</td><td class="num">\(length)</td></tr>
                """
        }
        guard !rows.isEmpty else {
            return "<p class=\"empty\">Nothing happened besides training.</p>"
        }
        let more = summary.incidents.count - rows.count
        let rest: Markup = more > 0 ? "<p class=\"note\">And \(more) more in run.json.</p>" : ""
        return """
            <div class="scroll"><table><thead><tr><th class="num">time</th><th>what</th>\
            <th class="wide">details</th><th class="num">lasted</th></tr></thead>
            <tbody>\(rows)</tbody></table></div>
            \(rest)
            """
    }
}
