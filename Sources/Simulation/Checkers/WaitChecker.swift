/// A wait is never silent: a trainer without work for longer than the patience has been explained by
/// its worker, and while the same wait lasts again after pauses that at most double.
struct WaitChecker {
    private struct Seat {
        var isAlive = false
        /// Since when the trainer has nothing to do; nil while it has.
        var idleSince: Int64?
        var reportedAt: Int64?
        /// How often each wait that is not over has been told, by activity: the machine's and the trainer's
        /// are told apart, and a driver looks at the trainer's only so often.
        var tellings: [(activity: String, times: Int)] = []
    }
    private var seats: [Seat]

    init(seats: Int) { self.seats = Array(repeating: Seat(), count: seats) }

    mutating func started(_ seat: Int, _ now: Int64) {
        seats[seat] = Seat(isAlive: true, idleSince: now, reportedAt: nil)
    }

    mutating func ended(_ seat: Int) { seats[seat] = Seat() }

    mutating func busy(_ seat: Int) { seats[seat].idleSince = nil }

    mutating func idle(_ seat: Int, _ now: Int64) {
        seats[seat].idleSince = now
        seats[seat].reportedAt = nil
    }

    /// A stopped process explains nothing until it goes on.
    mutating func resumed(_ seat: Int, _ now: Int64) { reported(seat, now) }

    mutating func reported(_ seat: Int, _ now: Int64) { seats[seat].reportedAt = now }

    mutating func told(_ seat: Int, _ activity: String, _ now: Int64) {
        reported(seat, now)
        if let place = seats[seat].tellings.firstIndex(where: { $0.activity == activity }) {
            seats[seat].tellings[place].times += 1
        } else {
            seats[seat].tellings.append((activity, 1))
        }
    }

    /// What was told is over; the next wait begins.
    mutating func toldEnd(_ seat: Int, _ activity: String, _ now: Int64) {
        reported(seat, now)
        seats[seat].tellings.removeAll { $0.activity == activity }
    }

    /// Since when a wait is unexplained, if that is longer than it may be.
    func silentWait(_ seat: Int, _ now: Int64, patience: Int64, slack: Int64) -> Int64? {
        guard seats[seat].isAlive, let idle = seats[seat].idleSince else { return nil }
        let since = max(idle, seats[seat].reportedAt ?? idle)
        let tellings = seats[seat].tellings.map(\.times).max() ?? 0
        let pause = patience << Int64(min(tellings, 4))
        return now - since > pause + slack ? since : nil
    }
}
