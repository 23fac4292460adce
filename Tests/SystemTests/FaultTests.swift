import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Faults in a run") struct Faults {
        /// Long enough that the fault falls into it.
        private static func cluster(steps: Int) -> SmallCluster {
            var cluster = SmallCluster()
            cluster.steps = steps
            cluster.step = "20 ms"
            return cluster
        }

        @Test("a killed worker: the run goes on within 5 s and the report names it")
        func killedWorker() async throws {
            try await withScratch { scratch in
                let run = try Run(scratch, try Self.cluster(steps: 200).write(to: scratch))
                let pids = try await run.pids()
                try await run.reaches(step: 30)
                kill(try #require(pids["south-2"]), SIGKILL)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")

                let events = try run.events()
                #expect(events.evicted == ["south-2"])
                let lastSign = try #require(
                    events.last {
                        if case .stepped(WorkerID(3), _, _, _, _) = $0.event { true } else { false }
                    })
                let evicted = try #require(
                    events.time { if case .workerEvicted = $0 { true } else { false } })
                let nextRound = try #require(
                    events.time {
                        if case .roundCommitted(_, _, 3, _) = $0 { true } else { false }
                    })
                print(
                    "evicted after \((evicted - lastSign.time).seconds) s, next round after",
                    "\((nextRound - lastSign.time).seconds) s")
                #expect(nextRound - lastSign.time < .seconds(5))
                // The death itself was noticed, not its silence, and one change of membership was enough.
                let reasons = events.compactMap { stamped -> String? in
                    if case .workerEvicted(_, _, let reason) = stamped.event { reason } else { nil }
                }
                #expect(reasons == ["its connection was reset"])
                let epochs = events.filter {
                    if case .epochStarted = $0.event { true } else { false }
                }
                #expect(epochs.count == 2)
                // Ten rounds' time for one change of membership would be a collective left hanging.
                let commits = events.filter {
                    if case .roundCommitted = $0.event { true } else { false }
                }.map(\.time)
                let periods = zip(commits, commits.dropFirst()).map { ($1 - $0).seconds }.sorted()
                let usual = periods[periods.count / 2]
                print(
                    "eviction to next commit \((nextRound - evicted).seconds) s, a round usually",
                    "takes \(usual) s")
                #expect((nextRound - evicted).seconds < 10 * usual)
                // Rounds 1...20 all came, none twice.
                #expect(events.commits.map(\.round) == Array(1...20))
                let summary = try run.summary()
                #expect(summary.counts.evictions == 1)
                #expect(
                    summary.incidents.contains {
                        $0.kind == .evicted && $0.text.contains("south-2")
                    })
                let report = try String(
                    contentsOfFile: "\(run.directory)/report.html", encoding: .utf8)
                #expect(report.contains("south-2"))
                #expect(run.program.errors.contains("south-2 was killed by signal 9"))
            }
        }

        @Test("a worker stopped for 10 s: nobody is evicted, and the run says for whom it waits")
        func stoppedWorker() async throws {
            try await withScratch { scratch in
                let run = try Run(scratch, try Self.cluster(steps: 200).write(to: scratch))
                let pids = try await run.pids()
                let pid = try #require(pids["south-1"])
                try await run.reaches(step: 30)
                kill(pid, SIGSTOP)
                try await Task.sleep(for: .seconds(10))
                kill(pid, SIGCONT)
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")

                let events = try run.events()
                #expect(events.evicted == [])
                #expect(events.commits.map(\.round) == Array(1...20))
                #expect(events.commits.allSatisfy { $0.members == 4 })
                let steps = events.filter {
                    if case .stepped(WorkerID(2), _, _, _, _) = $0.event { true } else { false }
                }
                // The pause is the longest gap between two steps of the stopped worker.
                let gap = try #require(
                    zip(steps, steps.dropFirst()).max {
                        $0.1.time - $0.0.time < $1.1.time - $1.0.time
                    })
                #expect(gap.1.time - gap.0.time > .seconds(9))
                let wait = try #require(
                    events.first {
                        guard $0.time > gap.0.time,
                            case .waiting(_, _, let names, _, _, _) = $0.event
                        else { return false }
                        return names == ["south-1"]
                    })
                print("named after \((wait.time - gap.0.time).seconds) s")
                #expect(wait.time - gap.0.time <= .seconds(5))
                // Each says it once in that time: the next word would come after ten more seconds.
                let words = events.filter { $0.time > gap.0.time && $0.time < gap.1.time }
                    .compactMap { stamped -> String? in
                        guard case .waiting(let observer, let activity, _, _, _, _) = stamped.event
                        else { return nil }
                        return "\(observer): \(activity)"
                    }
                #expect(Set(words).count == words.count, "\(words)")
                let lengths = events.compactMap { stamped -> Interval? in
                    guard case .waited(_, _, ["south-1"], let since, let until) = stamped.event
                    else { return nil }
                    return until - since
                }
                #expect(lengths.contains { $0 > .seconds(9) }, "\(lengths)")
            }
        }

        @Test("a killed coordinator: workers save and leave with 69; --resume goes on")
        func killedCoordinator() async throws {
            try await withScratch { scratch in
                var cluster = Self.cluster(steps: 400)
                cluster.deadlines = ["coordinator": "5 s", "patience": "2 s"]
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                let pids = try await run.pids()
                try await run.reaches(step: 30)
                kill(try #require(pids["coordinator"]), SIGKILL)
                try await #expect(run.program.ending() == .code(69))
                let said = run.program.errors
                for name in cluster.workers {
                    #expect(
                        said.contains("[\(name)] the coordinator is silent"), "\(name) said nothing"
                    )
                    let leaving = said.split(separator: "\n").first {
                        $0.hasPrefix("[\(name)] left: no coordinator for 5 s")
                    }
                    #expect(leaving?.hasSuffix("(code 69)") == true, "\(name): \(said)")
                    #expect(
                        FileManager.default.fileExists(
                            atPath: "\(run.directory)/worker-\(name).safetensors"))
                }
                #expect(said.contains("--resume \(run.directory)"))

                let resumed = try Run(scratch, file, isResumed: true)
                try await #expect(resumed.program.ending() == .code(0), "\(resumed.program.errors)")
                let summary = try resumed.summary()
                #expect(summary.pool.lastStep == 400)
                #expect(summary.identity.coordinatorStarts == 2)
                let events = try resumed.events()
                let restart = try #require(
                    events.lastIndex {
                        if case .runStarted = $0.event { true } else { false }
                    })
                let steps = events[restart...].compactMap { stamped -> UInt32? in
                    if case .stepped(_, let step, _, _, _) = stamped.event { step } else { nil }
                }
                let before = events[..<restart].compactMap { stamped -> UInt32? in
                    if case .stepped(_, let step, _, _, _) = stamped.event { step } else { nil }
                }
                // They trained on without a coordinator, and that is not lost.
                #expect(try #require(steps.min()) > (try #require(before.max())) + 50)
                let rounds = events.commits.map(\.round)
                #expect(zip(rounds, rounds.dropFirst()).allSatisfy { $0 < $1 }, "\(rounds)")
                #expect(events.commits.allSatisfy { $0.members == 4 })
                #expect(Array(events[restart...]).commits.count >= 2)
            }
        }

        @Test("Ctrl-C leaves in order with the state saved; --resume goes on from it")
        func interrupted() async throws {
            try await withScratch { scratch in
                let cluster = Self.cluster(steps: 300)
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                let pids = try await run.pids()
                try await run.reaches(step: 20)
                run.program.signal(SIGINT)
                try await #expect(run.program.ending() == .code(130))
                #expect(run.program.errors.contains("stopping in order"))
                for name in cluster.workers {
                    #expect(
                        FileManager.default.fileExists(
                            atPath: "\(run.directory)/worker-\(name).safetensors"))
                }
                #expect(pids.values.allSatisfy { kill($0, 0) != 0 }, "a process is left")
                #expect(try run.events().evicted == [])
                let resumed = try Run(scratch, file, ["--steps", "60"], isResumed: true)
                try await #expect(resumed.program.ending() == .code(0), "\(resumed.program.errors)")
                #expect(try resumed.summary().pool.lastStep == 60)
            }
        }

        @Test("Ctrl-C twice stops everything at once; SIGTERM leaves in order with 143")
        func interruptedTwice() async throws {
            try await withScratch { scratch in
                let cluster = Self.cluster(steps: 3_000)
                let file = try cluster.write(to: scratch)
                let run = try Run(scratch, file)
                let pids = try await run.pids()
                try await run.reaches(step: 10)
                // A stopped worker cannot leave in order: the first signal alone would take long.
                kill(try #require(pids["north-2"]), SIGSTOP)
                run.program.signal(SIGINT)
                try await Task.sleep(for: .milliseconds(300))
                #expect(run.program.isRunning)
                run.program.signal(SIGINT)
                try await #expect(run.program.ending(within: 5) == .code(130))
                try await run.program.waitUntil("all processes end", 5) {
                    pids.values.allSatisfy { !Self.isAlive($0) }
                }

                let second = try Run(scratch, file, directory: "second")
                _ = try await second.pids()
                try await second.reaches(step: 10)
                second.program.signal(SIGTERM)
                try await #expect(second.program.ending() == .code(143))
            }
        }

        @Test("a killed launcher leaves no process behind")
        func killedLauncher() async throws {
            try await withScratch { scratch in
                let run = try Run(scratch, try Self.cluster(steps: 3_000).write(to: scratch))
                let pids = try await run.pids()
                try await run.reaches(step: 10)
                run.program.signal(SIGKILL)
                try await #expect(run.program.ending() == .signal(SIGKILL))
                try await run.program.waitUntil("all processes end", 30) {
                    pids.values.allSatisfy { !Self.isAlive($0) }
                }
            }
        }

        /// Ended processes whose parent has gone may stay as zombies where nobody collects them.
        private static func isAlive(_ pid: Int32) -> Bool {
            guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
            else {
                return false
            }
            let state = text.split(separator: ")").last?.split(separator: " ").first
            return state != "Z"
        }
    }
}
