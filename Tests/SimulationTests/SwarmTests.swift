import ClusterModel
import Simulation
import Testing

@Suite struct SwarmTests {
    @Test(arguments: [1, 101, 201, 301] as [UInt64])
    func `a hundred seeds without a finding`(first: UInt64) {
        let report = Swarm.run(seeds: first...first + 99)
        #expect(report.runs == 100)
        #expect(report.rounds > 500)
        for failure in report.failures {
            Issue.record("\(failure.command): \(failure.findings)")
        }
    }

    @Test func `the same seed takes the same course`() {
        for seed in [3, 17, 58, 402, 623] as [UInt64] {
            let first = Swarm.run(seed)
            let second = Swarm.run(seed)
            #expect(first.traceHash == second.traceHash)
            #expect(first.occurrences == second.occurrences)
            #expect(first.digest == second.digest)
        }
        #expect(Swarm.run(3).traceHash != Swarm.run(17).traceHash)
    }

    /// 3337: a frame on a connection that its receiver had not introduced. 4266: an offer of a boundary that
    /// was taken back. 770, 2120: a run resumed when all its rounds were committed and not all steps taken.
    /// 3087: a run that begins again, and the only one left draws all samples of its region. 1319: a round
    /// after the last step, for experts that the one before left out: nobody has new tokens.
    @Test(arguments: [770, 1319, 2120, 3087, 3337, 4266] as [UInt64])
    func `seeds that found something find it no more`(seed: UInt64) {
        #expect(Swarm.run(seed).findings == [])
    }

    @Test func `plans that follow measurements are among the seeds`() {
        let seeds = (1...300 as ClosedRange<UInt64>).filter {
            SwarmSeed($0).configuration.schedule.adapts
        }
        #expect(seeds.allSatisfy { SwarmSeed($0).configuration.schedule.outer != .decoupled })
        var reasons: [String] = []
        for seed in seeds {
            for stamped in Swarm.run(seed).events {
                if case .epochStarted(_, _, let reason) = stamped.event { reasons.append(reason) }
            }
        }
        for kind in ["codec: ", "local steps: ", "balance: "] {
            let count = reasons.count { $0.contains(kind) }
            #expect(count >= 5, "\(kind)\(count) in \(seeds.count) seeds")
        }
    }

    @Test func `experts of one region are among the seeds, with all that befalls them`() {
        let seeds = (1...500 as ClosedRange<UInt64>).filter {
            SwarmSeed($0).configuration.model.experts?.crossing != nil
        }
        var (owned, crossing, moved, missing, back) = (0, 0, 0, 0, 0)
        for seed in seeds {
            let events = Swarm.run(seed).events.map(\.event)
            let owners = events.compactMap {
                if case .expertOwners(let owners) = $0 { owners } else { nil }
            }
            let reasons = events.compactMap {
                if case .epochStarted(_, _, let reason) = $0 { reason } else { nil }
            }
            if !owners.isEmpty { owned += 1 }
            if owners.contains(where: { !$0.budgets.isEmpty }) { crossing += 1 }
            if Set(owners.map(\.owners)).count > 1 { moved += 1 }
            if reasons.contains(where: { $0.contains("waits for tokens") }) { missing += 1 }
            if reasons.contains(where: { $0.contains("tokens cross again") }) { back += 1 }
        }
        #expect(owned > 50 && crossing > 30 && moved > 25)
        #expect(missing > 2 && back > 2)
    }

    @Test func `a failure prints the command that repeats it`() {
        let failure = Swarm.Failure(seed: 7, description: [], findings: [])
        #expect(failure.command == "longhaul simulate --swarm --seeds 7..7")
    }
}
