internal import ClusterModel

/// Time budget: one stacked bar per worker, seven categories and what none of them claims.
struct BudgetBars {
    let workers: [RunSummary.Worker]

    var markup: Markup {
        let counted = workers.filter { ($0.budget?.wallSeconds ?? 0) > 0 }
        guard !counted.isEmpty else {
            return "<p class=\"empty\">No worker told its time budget.</p>"
        }
        let names = (counted[0].budget?.categories.map(\.name) ?? []) + ["residue"]
        let items = names.map { name -> Markup in
            "<li><span class=\"key square b-\(name)\"></span>\(name)</li>"
        }
        return """
            <div class="bars">\(counted.map { row($0) })</div>
            <ul class="legend">\(items)</ul>
            \(unbalanced(counted))
            """
    }

    private func row(_ worker: RunSummary.Worker) -> Markup {
        guard let budget = worker.budget else { return .nothing }
        let residue = max(0, budget.residueSeconds)
        let parts = budget.categories + [("residue", residue)]
        // Categories that claim more than the wall time are drawn to their own sum.
        let whole = max(budget.wallSeconds, parts.reduce(0) { $0 + $1.seconds })
        var x = 0.0
        let pieces = parts.map { part -> Markup in
            let width = 1000 * part.seconds / whole
            defer { x += width }
            guard width > 0 else { return .nothing }
            let share = Figures.percent(part.seconds / budget.wallSeconds)
            return """
                <rect class="b-\(part.name)" x="\(x)" y="0" width="\(width)" height="30">\
                <title>\(part.name): \(share), \(Figures.duration(part.seconds))</title></rect>
                """
        }
        let words = parts.filter { $0.seconds > 0 }
            .map { "\($0.name) \(Figures.percent($0.seconds / budget.wallSeconds))" }
            .joined(separator: ", ")
        let shown = parts.dropFirst().filter { $0.seconds / budget.wallSeconds >= 0.0005 }
            .map { "\($0.name) \(Figures.percent($0.seconds / budget.wallSeconds))" }
            .joined(separator: ", ")
        let paced =
            budget.pacedSeconds > 0
            ? ", of which pacing \(Figures.percent(budget.pacedSeconds / budget.wallSeconds))" : ""
        return """
            <div class="bar"><div class="barname">\(worker.name) \
            <span class="quiet">\(worker.region), \
            \(Figures.duration(budget.wallSeconds))</span></div>
            <svg viewBox="0 0 1000 30" preserveAspectRatio="none" role="img" \
            aria-label="\(worker.name): \(words)"><title>\(worker.name)</title>
            \(pieces)
            </svg>
            <div \
            class="barnote"><b>\(Figures.percent(budget.computeSeconds / budget.wallSeconds))</b> \
            compute\(paced)\(shown.isEmpty ? "" : "; " + shown)</div></div>
            """
    }

    private func unbalanced(_ counted: [RunSummary.Worker]) -> Markup {
        let names = counted.filter { $0.budget?.isBalanced == false }.map(\.name)
        guard !names.isEmpty else {
            return """
                <p class="note">The seven categories sum to the wall time of each trainer thread, \
                within 1 %.</p>
                """
        }
        return """
            <p class="note warn">The categories of \(names.joined(separator: ", ")) do not sum to \
            the wall time within 1 %: take these shares with care.</p>
            """
    }
}
