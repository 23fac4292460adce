/// A wait is never silent: a trainer without work for longer than the patience has been explained by
/// its worker, and while the same wait lasts again after pauses that at most double.
struct WaitChecker {
    private struct Seat {
        var isAlive = false
        /// Since when the trainer has nothing to do; nil while it has.
        var idleSince: Int64?
        var reportedAt: Int64?
        /// How often the wait that is not over has been told.
        var tellings = 0
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

    mutating func told(_ seat: Int, _ now: Int64) {
        reported(seat, now)
        seats[seat].tellings += 1
    }

    /// What was told is over; the next wait begins.
    mutating func toldEnd(_ seat: Int, _ now: Int64) {
        reported(seat, now)
        seats[seat].tellings = 0
    }

    /// Since when a wait is unexplained, if that is longer than it may be.
    func silentWait(_ seat: Int, _ now: Int64, patience: Int64, slack: Int64) -> Int64? {
        guard seats[seat].isAlive, let idle = seats[seat].idleSince else { return nil }
        let since = max(idle, seats[seat].reportedAt ?? idle)
        let pause = patience << Int64(min(seats[seat].tellings, 4))
        return now - since > pause + slack ? since : nil
    }
}
