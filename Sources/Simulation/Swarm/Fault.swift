package import ClusterModel

/// Something that goes wrong. All of them are what ZeroMQ over TCP, an operating system or a machine
/// can really do.
package enum Fault: Codable, Equatable, Sendable {
    /// The process is gone without a word.
    case crash(worker: Int)
    /// A new life under the same name, from the saved state or from nothing.
    case restart(worker: Int, resume: Bool)
    /// SIGSTOP until SIGCONT. `nil`: the coordinator.
    case pause(worker: Int?, Interval)
    /// Nothing from region `from` reaches region `to`; connections stay.
    case partition(from: Int, to: Int, symmetric: Bool, Interval)
    /// One worker is cut off from everybody: its frames, those for it, or both.
    case isolate(worker: Int, outwards: Bool, inwards: Bool, Interval)
    case slowLink(from: Int, to: Int, Interval)
    /// No connection that `from` dials to `to` succeeds; the one there is is reset. The processes and all
    /// other paths are well (a port that a firewall closes).
    case unreachable(from: Int, to: Int, Interval)
    /// The worker's connection to the coordinator is reset; what was under way is lost.
    case resetControl(worker: Int)
    /// A lane that `from` dialled to `to` is reset: the one of this number, counted round if there are
    /// fewer; `nil`: all of them.
    case resetLane(from: Int, to: Int, lane: Int?)
    /// The local clock jumps ahead. `nil`: the coordinator's.
    case clockJump(worker: Int?, Interval)
    /// A frame on the lane that `from` dialled arrives damaged.
    case corruptLane(from: Int, to: Int, back: Bool)
    /// A control frame of the worker, or for it, arrives damaged.
    case corruptControl(worker: Int, back: Bool)
    case slowWorker(worker: Int, factor: Double, Interval)
    /// The operator takes a worker out.
    case leave(worker: Int)
    case crashCoordinator

    /// How long it lasts; zero for what happens at once.
    var length: Interval {
        switch self {
        case .pause(_, let length), .partition(_, _, _, let length),
            .isolate(_, _, _, let length), .slowLink(_, _, let length),
            .slowWorker(_, _, let length), .unreachable(_, _, let length):
            length
        case .crash, .restart, .resetControl, .resetLane, .clockJump, .corruptLane,
            .corruptControl, .leave, .crashCoordinator:
            .zero
        }
    }
}

package struct TimedFault: Codable, Equatable, Sendable {
    package var at: Instant
    package var fault: Fault
    package init(at: Instant, fault: Fault) {
        self.at = at
        self.fault = fault
    }
}
