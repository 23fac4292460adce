import ClusterModel
import Foundation
import NodeRuntime
import RunRecord
import Synchronization

/// Waits for the coordinator and the workers of a run on this machine, and stops the others when one
/// of them could not even join.
struct ClusterWatch {
    let coordinator: ChildProcess
    let workers: [ChildProcess]
    /// The run record: who has joined.
    let logPath: String
    let interrupt: Interrupt
    let say: (String) -> Void

    /// Between two looks at the processes: nobody notices 50 ms.
    private static let period: UInt32 = 50_000

    /// Returns when all have ended; with what kept one of them from joining, if anything did.
    ///
    /// - Parameter onTurn: called at every look at the processes.
    func run(_ onTurn: () -> Void) -> Failure? {
        var told: [String] = []
        var failure: Failure?
        var coordinatorHasEnded = false
        while coordinator.isRunning || workers.contains(where: \.isRunning) {
            usleep(Self.period)
            onTurn()
            if OutputReaders.areGone { interrupt.raise() }
            if interrupt.isRaised, !interrupt.isHandled {
                interrupt.markHandled()
                say("stopping in order; once more stops at once")
                for child in coordinator.isRunning ? [coordinator] : workers { stop(child) }
                stopNewcomers()
            }
            for child in [coordinator] + workers where !told.contains(child.name) {
                guard let ending = child.ending else { continue }
                told.append(child.name)
                if case .signal(let number) = ending {
                    say("\(child.name) was killed by signal \(number)")
                    SameHost.removeDirectories(of: child.pid)
                }
                guard failure == nil, !interrupt.isRaised, let found = failureToJoin(child)
                else { continue }
                failure = found
                say("\(child.name) could not join; stopping the others")
                stop(coordinator)
                stopNewcomers()
            }
            if !coordinator.isRunning, !coordinatorHasEnded {
                coordinatorHasEnded = true
                stopNewcomers()
            }
        }
        return failure
    }

    private func stop(_ child: ChildProcess) {
        guard child.isRunning else { return }
        if interrupt.code == .terminated { child.terminate() } else { child.interrupt() }
    }

    /// Workers that never joined do not hear the coordinator's STOP.
    private func stopNewcomers() {
        let joined = joinedWorkers()
        for worker in workers where !joined.contains(worker.name) { stop(worker) }
    }

    /// Why a worker ended before it had joined; nil for one that joined, or that was killed: the run
    /// starts without it.
    private func failureToJoin(_ child: ChildProcess) -> Failure? {
        guard child.name != coordinator.name, coordinator.isRunning,
            case .code(let code) = child.ending, code != 0,
            !joinedWorkers().contains(child.name)
        else { return nil }
        return child.failureAtStart("worker '\(child.name)'")
    }

    private func joinedWorkers() -> Set<String> {
        let events = (try? RunLogReader(path: logPath).events()) ?? []
        // A log that is appended to has the lives of earlier coordinators.
        let start = events.lastIndex {
            if case .runStarted = $0.event { true } else { false }
        }
        var names: Set<String> = []
        for stamped in events[(start ?? events.startIndex)...] {
            if case .workerJoined(_, let name, _, _) = stamped.event { names.insert(name) }
        }
        return names
    }
}

extension ChildProcess {
    /// What a process that ended at start-up says of it: its JSON error object, or its exit code.
    ///
    /// - Parameter said: what has been read of its standard output already.
    func failureAtStart(_ who: String, said: Data = Data()) -> Failure {
        let output = said + remainingOutput()
        if let report = try? JSONDecoder().decode(FailureReport.self, from: output) {
            return Failure(report.exitCode, "\(who): \(report.message)", hint: report.hint)
        }
        switch ending {
        case .code(let code):
            return Failure(
                ClusterModel.ExitCode(rawValue: code) ?? .unavailable,
                "\(who) did not start (code \(code))", hint: "its own message stands above")
        case .signal(let number):
            return Failure(.unavailable, "\(who) did not start: killed by signal \(number)")
        case nil:
            return Failure(
                .unavailable, "\(who) did not start", hint: "its own message stands above")
        }
    }
}

/// The error object of another Longhaul process.
private struct FailureReport: Decodable {
    var code: Int32
    var message: String
    var hint: String
    var exitCode: ClusterModel.ExitCode { ExitCode(rawValue: code) ?? .unavailable }
}
