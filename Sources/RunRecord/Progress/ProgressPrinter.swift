package import ClusterModel

/// Tells a person how a run goes, from its events. On a terminal one status line is redrawn in
/// place; elsewhere a line is printed per interval. Incidents get a line of their own in both.
/// Never silent for longer than an interval while ``tick(now:)`` is called.
package struct ProgressPrinter {
    /// Off a terminal: time between two lines. Below the 5 s a run may be silent.
    package static let interval = Interval.seconds(2)
    /// On a terminal: time between two redraws.
    package static let redrawInterval = Interval.milliseconds(250)

    private let style: OutputStyle
    private let write: (String) -> Void
    private var state = ProgressState()
    private var nextLine: Instant?
    private var lastNews: Instant?
    private var isLineOpen = false
    private var isOver = false
    private var lanesSaid: [String] = []
    private var waits = OpenWaits()

    /// - Parameter write: takes text as it is to appear, with its line ends.
    package init(style: OutputStyle, write: @escaping (String) -> Void) {
        self.style = style
        self.write = write
    }

    /// Takes the next event of the log; prints when it is an incident or a line is due.
    package mutating func consume(_ event: StampedEvent) {
        guard !isOver else { return }
        state.take(event)
        lastNews = max(lastNews ?? event.time, event.time)
        if isNew(event.event), let (text, tone) = line(for: event.event) {
            say(style.painted("\(WaitText.clock(event.time.seconds))  \(text)", tone))
        }
        if case .runEnded = event.event {
            isOver = true
            return
        }
        tick(now: event.time)
    }

    /// Prints the status when it is due. Call it at least twice a second.
    ///
    /// - Parameter now: on the clock of the events, since the coordinator started.
    package mutating func tick(now: Instant) {
        guard !isOver else { return }
        if let nextLine, now < nextLine { return }
        nextLine = now + (style.isTerminal ? Self.redrawInterval : Self.interval)
        let status = "\(WaitText.clock(now.seconds))  \(text(at: now))"
        if style.isTerminal {
            let shown =
                status.count > style.width - 1
                ? String(status.prefix(style.width - 1)) : status
            write(OutputStyle.clearLine + shown)
            isLineOpen = true
        } else {
            write(status + "\n")
        }
    }

    /// Ends the status line, so that what follows starts on a new one.
    package mutating func finish() {
        isOver = true
        closeLine()
    }

    private func text(at now: Instant) -> String {
        var text = state.hasStepped ? state.parts(at: now).joined(separator: "  ") : state.gathering
        if let lastNews, now - lastNews > .seconds(5) {
            text = "no news for \(Figures.duration((now - lastNews).seconds))  " + text
        }
        return text
    }

    private mutating func say(_ line: String) {
        closeLine(clear: true)
        write(line + "\n")
    }

    private mutating func closeLine(clear: Bool = false) {
        guard isLineOpen else { return }
        write(clear ? OutputStyle.clearLine : "\n")
        isLineOpen = false
        nextLine = nil
    }

    /// Several workers of a region decide alike about their lanes, and wait for the same; one of them stands
    /// for all.
    private mutating func isNew(_ event: RunEvent) -> Bool {
        switch event {
        case .waiting(let observer, let activity, let names, _, _, _):
            return waits.begin(observer: observer, activity: activity, names: names)
        case .waited(let observer, let activity, _, _, _):
            return waits.end(observer: observer, activity: activity)
        case .workerEvicted(_, let name, _), .workerLeft(_, let name, _, _): waits.forget(name)
        default: break
        }
        guard case .lanesDecided(let count) = event else { return true }
        let fact = "\(count.from.rawValue) \(count.to.rawValue) \(count.lanes)"
        guard !lanesSaid.contains(fact) else { return false }
        lanesSaid.append(fact)
        return true
    }

    /// The line of an incident; `nil` for events that only move the status.
    private func line(for event: RunEvent) -> (String, OutputStyle.Tone)? {
        switch event {
        case .runStarted(let started):
            return ("run \(started.configuration.name), seed \(started.configuration.seed)", .plain)
        case .workerJoined(_, let name, _, _): return ("\(name) joined", .good)
        case .epochStarted(let epoch, let members, let reason):
            return ("epoch \(epoch.rawValue): \(members.count) workers, \(reason)", .plain)
        case .waiting(let observer, let activity, let names, let since, let until, let then):
            let text = WaitText.text(
                observer: observer, activity: activity, names: names, since: since.seconds,
                until: until?.seconds, then: then)
            return (text, .attention)
        case .waited(let observer, let activity, let names, let since, let until):
            let text = WaitText.over(
                observer: observer, activity: activity, names: names,
                seconds: (until - since).seconds)
            return (text, .plain)
        case .roundClosed(let closed):
            return closed.late.isEmpty ? nil : (closed.because, .plain)
        case .workerEvicted(_, let name, let reason): return ("\(name) evicted: \(reason)", .bad)
        case .workerLeft(_, let name, _, let reason): return ("\(name) left: \(reason)", .plain)
        case .violation(let culprit, let what): return ("violation by \(culprit): \(what)", .bad)
        case .coordinatorLost(let id, _, let until):
            return (
                "\(state.name(of: id)) cannot reach the coordinator; it trains on until "
                    + "\(WaitText.clock(until.seconds)), then saves and leaves", .bad
            )
        case .coordinatorReturned(let id):
            return ("\(state.name(of: id)) has the coordinator again", .good)
        case .checkpointWritten(_, let path, let step, _):
            return ("checkpoint of step \(step): \(path)", .plain)
        case .checkpointFailed(_, let path, let reason):
            return ("checkpoint failed: \(path): \(reason)", .bad)
        case .modelWritten(_, let path, _): return ("model written: \(path)", .good)
        case .lanesDecided(let count):
            return (
                "\(count.worker) -> \(count.peer): \(count.lanes) "
                    + "lane\(count.lanes == 1 ? "" : "s"), because \(count.because)", .plain
            )
        case .stateTaken(let taken):
            return (StateText.text(taken) { state.name(of: $0) }, .good)
        case .note(let source, let text):
            // For the report, not for the eyes of who watches.
            if text.hasPrefix(SummaryBuilder.kernelNotePrefix) { return nil }
            return ("\(source): \(text)", .plain)
        case .runEnded(let code, let reason):
            return ("run ended, code \(code): \(reason)", code == 0 ? .good : .bad)
        case .stepped, .evaluated, .roundCommitted, .budget, .traffic, .linkUse, .peakMemory,
            .codecUse, .expertUse, .expertsExchanged, .expertOwners, .tokensCrossed, .relayed:
            return nil
        }
    }
}
