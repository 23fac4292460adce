import ClusterModel
import Foundation
import Glibc
import RunRecord
import Testing

extension SystemTests {
    @Suite("Joining by hand") struct Joining {
        @Test("two workers with one join token train; a third finds no seat")
        func token() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster.oneRegion(steps: 200).write(to: scratch)
                let run = try await HandStarted(scratch, file)
                let first = try run.worker(scratch, "w1")
                try await first.waitUntil("the first worker's seat") {
                    first.errors.contains("has seat 0")
                }
                let second = try run.worker(scratch, "w2", ["--region", "north"])
                try await second.waitUntil("the second worker's seat") {
                    second.errors.contains("has seat 1")
                }
                let third = try run.worker(scratch, "w3")
                try await #expect(third.ending() == .code(75))
                let refusal = try third.failure()
                #expect(refusal.name == "tryAgain" && refusal.message.contains("is taken"))
                #expect(refusal.hint == "all seats of the cluster file are taken")
                for worker in [first, second] {
                    try await #expect(worker.ending() == .code(0), "\(worker.errors)")
                }
                try await #expect(run.coordinator.ending() == .code(0), "\(run.coordinator.errors)")
                let events = try RunLogReader(path: "\(run.directory)/run.sqlite").events()
                #expect(events.commits.count == 200)
                #expect(events.commits.allSatisfy { $0.members == 2 })
                #expect(FileManager.default.fileExists(atPath: "\(run.directory)/report.html"))
            }
        }

        @Test("a wrong token, region, seat name or token file is explained")
        func refusals() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster.oneRegion(steps: 5).write(to: scratch)
                let run = try await HandStarted(scratch, file)
                let token = try String(contentsOfFile: run.tokenFile, encoding: .utf8)
                var parts = try JoinTokenText.read(
                    token.trimmingCharacters(in: .whitespacesAndNewlines))
                // Somebody else's secret, and somebody else's coordinator: another Z85 key each.
                parts["secret"] = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
                try JoinTokenText.write(parts)
                    .write(toFile: scratch.path("old"), atomically: true, encoding: .utf8)
                parts = try JoinTokenText.read(
                    token.trimmingCharacters(in: .whitespacesAndNewlines))
                parts["serverKey"] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
                try JoinTokenText.write(parts)
                    .write(toFile: scratch.path("other"), atomically: true, encoding: .utf8)
                try String(token.prefix(60))
                    .write(toFile: scratch.path("cut"), atomically: true, encoding: .utf8)
                let cases: [(more: [String], token: String?, code: Int32, says: String)] = [
                    (["--region", "mars"], nil, 77, "no seat in region 'mars'"),
                    (["--name", "north-9"], nil, 77, "no seat 'north-9'"),
                    ([], "old", 77, "the join token is not valid"),
                    ([], "other", 77, "key is not the expected one"),
                    ([], "cut", 78, "the join token is damaged"),
                    ([], "missing", 78, "cannot read the join token file"),
                ]
                for (number, wanted) in cases.enumerated() {
                    let worker = try run.worker(
                        scratch, "w\(number)", wanted.more,
                        token: wanted.token.map { scratch.path($0) })
                    try await #expect(
                        worker.ending() == .code(wanted.code), "\(wanted): \(worker.errors)")
                    let failure = try worker.failure()
                    #expect(failure.code == wanted.code)
                    #expect(failure.message.contains(wanted.says), "\(failure.message)")
                    #expect(!failure.hint.isEmpty && failure.doc.hasSuffix("#\(wanted.code)"))
                }
                #expect(run.coordinator.isRunning)
            }
        }

        @Test("a worker that comes back under its key needs no second seat")
        func returning() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster.oneRegion(steps: 400)
                cluster.step = "20 ms"
                let run = try await HandStarted(scratch, try cluster.write(to: scratch))
                let first = try run.worker(scratch, "w1")
                let second = try run.worker(scratch, "w2")
                let log = "\(run.directory)/run.sqlite"
                try await first.waitUntil("30 steps") {
                    try RunLogReader(path: log).events().commits.count >= 30
                }
                second.signal(SIGKILL)
                try await #expect(second.ending() == .signal(SIGKILL))
                let again = try run.worker(scratch, "w2")
                for worker in [first, again] {
                    try await #expect(worker.ending() == .code(0), "\(worker.errors)")
                }
                try await #expect(run.coordinator.ending() == .code(0))
                let events = try RunLogReader(path: log).events()
                #expect(events.evicted.count == 1)
                // It took over its peer's state and trained to the end with it.
                #expect(events.commits.last?.members == 2)
                #expect(events.commits.map(\.round) == Array(1...400))
            }
        }
    }

    @Suite("What crosses the network") struct Network {
        @Test("every byte between regions passes the relay, in both directions")
        func relayCounts() async throws {
            try await withScratch { scratch in
                let run = try Run(scratch, try SmallCluster().write(to: scratch))
                try await #expect(run.program.ending() == .code(0), "\(run.program.errors)")
                let summary = try run.summary()
                let between = summary.links.filter { !$0.isInsideRegion }
                #expect(between.count == 2)
                for link in between {
                    let relay = try #require(link.relayBytes)
                    print("\(link.from) -> \(link.to): lanes \(link.laneBytes), relay \(relay)")
                    #expect(link.laneBytes > 0)
                    #expect(relay >= link.laneBytes)
                }
                #expect(summary.identity.curve)
            }
        }

        @Test("every port speaks CURVE, says nothing in plain, and hangs up on those who do not")
        func greetings() async throws {
            try await withScratch { scratch in
                var cluster = SmallCluster()
                cluster.steps = 3_000
                let run = try Run(scratch, try cluster.write(to: scratch))
                let pids = try await run.pids()
                try await run.reaches(step: 10)
                for name in ["coordinator"] + cluster.workers {
                    let ports = try Endpoints.listening(try #require(pids[name]))
                    #expect(!ports.isEmpty, "\(name) listens nowhere")
                    for port in ports {
                        let (mechanism, hangsUp) = try ZMTPGreeting.probe(port: port)
                        #expect(mechanism == "CURVE" && hangsUp, "\(name), port \(port)")
                    }
                }
                // It took no harm.
                let step = try run.events().trainingLoss.keys.max() ?? 0
                try await run.reaches(step: step + 20)
                #expect(try run.events().evicted == [])
                run.program.signal(SIGINT)
                try await #expect(run.program.ending() == .code(130))
            }
        }

        @Test("a capture between worker and coordinator holds no word of what they say")
        func capture() async throws {
            try await withScratch { scratch in
                let file = try SmallCluster.oneRegion(steps: 5, batches: [2]).write(to: scratch)
                let run = try await HandStarted(scratch, file)
                let tap = try Wiretap(to: run.port)
                defer { tap.stop() }
                let token = try String(contentsOfFile: run.tokenFile, encoding: .utf8)
                var parts = try JoinTokenText.read(
                    token.trimmingCharacters(in: .whitespacesAndNewlines))
                parts["endpoint"] = "tcp://127.0.0.1:\(tap.port)"
                let tapped = scratch.path("tapped.token")
                try JoinTokenText.write(parts).write(
                    toFile: tapped, atomically: true, encoding: .utf8)
                let worker = try run.worker(scratch, "w1", token: tapped)
                try await #expect(worker.ending() == .code(0), "\(worker.errors)")
                try await #expect(run.coordinator.ending() == .code(0))
                // The tap works: ZMTP's greeting is plain and names the mechanism.
                #expect(tap.bytes.count > 4_000, "\(tap.bytes.count)")
                #expect(tap.contains("CURVE"))
                // Magic of every frame, the worker's name, the configuration of WELCOME.
                for word in ["LHL1", "north-1", "steps", scratch.path("text.txt")] {
                    #expect(!tap.contains(word), "'\(word)' crossed in plain")
                }
            }
        }
    }
}
