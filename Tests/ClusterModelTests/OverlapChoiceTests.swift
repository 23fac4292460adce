import ClusterModel
import Testing

/// tau by replica. 400,000 values in two halves as fp32: 12.8 Mbit cross each direction between two regions
/// in a round, 6.4 with each half; 15 ms each way; H 10.
@Suite struct OverlapChoiceTests {
    private func topology(
        steps: [Int64] = [100, 100], rate: UInt64 = 20_000_000, workers: Int = 1
    ) -> Topology {
        let regions = steps.enumerated().map { index, step in
            Topology.Region(
                name: "r\(index)",
                workers: (0..<workers).map {
                    Topology.Worker(
                        name: "r\(index)w\($0)", microBatch: 2, nominalStep: .milliseconds(step))
                })
        }
        var links: [Topology.Link] = []
        for a in steps.indices {
            for b in steps.indices where a < b {
                links.append(
                    Topology.Link(
                        a: RegionID(a), b: RegionID(b), distanceKilometres: 1_500,
                        oneWayDelay: .milliseconds(15), rate: rate, jitter: .zero,
                        queueBytes: 65_536))
            }
        }
        return Topology(regions: regions, links: links, coordinatorRegion: RegionID(0))
    }

    private func configuration(
        fragments: Int = 2, every: UInt32 = 10, inner: RunConfiguration.Schedule.Inner = .everyStep
    ) -> RunConfiguration {
        var model = RunConfiguration.Model.standard
        model.layers = max(2, fragments)
        var schedule = RunConfiguration.Schedule(
            inner: inner, outer: .streaming, syncEvery: every, outerLearningRate: 0.4,
            outerMomentum: 0.9, fragments: fragments, overlap: 1, blend: 0.5)
        schedule.choosesOverlap = true
        return RunConfiguration(
            name: "test", seed: 1, steps: 10 * every, model: model, training: .standard,
            schedule: schedule,
            wire: RunConfiguration.Wire(insideRegion: .fp32, betweenRegions: .fp32),
            deadlines: .standard, data: .gcide)
    }

    private func choose(
        _ topology: Topology, _ configuration: RunConfiguration
    ) throws -> OverlapChoice {
        try #require(OverlapChoice(configuration, topology, values: 400_000))
    }

    @Test func onlyWhereItIsAskedFor() {
        var configuration = configuration()
        configuration.schedule.choosesOverlap = nil
        #expect(OverlapChoice(configuration, topology(), values: 400_000) == nil)
    }

    @Test func aTransferAndTheWayFitIntoTheFewestSteps() throws {
        let choice = try choose(topology(), configuration())
        #expect(choice.perSeat == [4, 4] && choice.largestShare == 0.5)
        let first = choice.replicas[0]
        #expect(first.fits && abs((first.meanSeconds ?? 0) - 0.35) < 1e-9)
        #expect(
            OverlapChoice.lines(choice.replicas) == [
                "r0, r1: tau 4 of 10, a mean is there after 3.50 steps: r0 -> r1 takes a fragment "
                    + "through in 320 ms, the way takes 30 ms"
            ])
        #expect(abs(choice.hiddenSeconds - 0.4) < 1e-9 && abs(choice.steps - 4) < 1e-9)
        // Three steps and a third: less would not do.
        let faster = try choose(topology(rate: 21_400_000), configuration())
        #expect(faster.perSeat == [4, 4])
        let enough = try choose(topology(rate: 24_000_000), configuration())
        #expect(enough.perSeat == [3, 3])
    }

    @Test func aReplicaCountsInItsOwnSteps() throws {
        var configuration = configuration()
        let equal = try choose(topology(steps: [100, 200]), configuration)
        #expect(equal.perSeat == [4, 2])
        configuration.schedule.localSteps = .nominal
        let nominal = try choose(topology(steps: [100, 200]), configuration)
        #expect(nominal.perSeat == [4, 2] && nominal.replicas.map(\.syncEvery) == [10, 5])
        // The time all have: what codecs go by.
        #expect(abs(nominal.hiddenSeconds - 0.4) < 1e-9 && abs(nominal.steps - 2) < 1e-9)
    }

    @Test func workersThatAreReplicasHaveEachTheirOwn() throws {
        var topology = topology(workers: 2)
        topology.regions[1].workers[1].nominalStep = .milliseconds(400)
        let choice = try choose(topology, configuration(inner: .none))
        // As much crosses as between two replicas, since each region contributes once.
        #expect(choice.replicas.map(\.name) == ["r0w0", "r0w1", "r1w0", "r1w1"])
        #expect(choice.perSeat == [4, 4, 4, 1])
        let together = try choose(topology, configuration())
        #expect(together.replicas.map(\.name) == ["r0", "r1"])
        #expect(together.perSeat == [4, 4, 1, 1])
    }

    @Test func aFullLinkIsKeptBusyAndSaysSo() throws {
        let choice = try choose(topology(rate: 10_000_000), configuration())
        #expect(choice.perSeat == [5, 5])
        #expect(!choice.replicas[0].fits && choice.replicas[0].meanSeconds == nil)
        #expect(
            choice.replicas[0].reason.hasPrefix(
                "r0 -> r1 is full, a round takes it 1.28 s and comes every 1 s"))
    }

    @Test func aFragmentLeavesAgainOnlyWhenItsLastRoundIsCommitted() throws {
        let choice = try choose(topology(rate: 13_000_000), configuration(fragments: 1))
        #expect(choice.perSeat == [9, 9] && !choice.replicas[0].fits)
        #expect(choice.replicas[0].reason.contains("steps wait"))
        // A commit takes the way there and back: three steps here.
        var far = topology(rate: 100_000_000)
        far.links[0].oneWayDelay = .milliseconds(150)
        let short = try choose(far, configuration(fragments: 1, every: 4))
        #expect(short.perSeat == [1, 1] && !short.replicas[0].fits)
        let least = try choose(topology(), configuration(fragments: 1, every: 2))
        #expect(least.perSeat == [1, 1])
    }

    @Test func aFragmentThatIsLargerHoldsUpTheNext() throws {
        var configuration = configuration()
        configuration.model.layers = 3
        // Two thirds and one third: 427 ms and 213 ms; the smaller one leaves after the larger.
        let choice = try choose(topology(), configuration)
        #expect(abs(choice.largestShare - 2.0 / 3) < 1e-4)
        #expect(choice.perSeat == [5, 5])
        // 776 and 388 ms in a second cannot be; 582 and 291 ms can, the second waits 82 ms.
        let slow = try choose(topology(rate: 14_660_000), configuration)
        #expect(abs((slow.replicas[0].meanSeconds ?? 0) - 0.612) < 1e-3)
        #expect(slow.perSeat == [7, 7])
    }

    /// r2 sends fast and receives slowly, and owns nothing: what crosses to it are means for it alone.
    @Test func whatOnlyOneRegionWaitsForIsItsOwn() throws {
        var topology = topology(steps: [100, 100, 100], rate: 100_000_000)
        for index in topology.links.indices where topology.links[index].b == RegionID(2) {
            var back = topology.links[index].parameters(from: RegionID(2))
            back.bitsPerSecond = 100_000_000
            topology.links[index].reverse = back
            topology.links[index].rate = 10_000_000
        }
        let choice = try choose(topology, configuration())
        #expect(choice.perSeat == [1, 1, 4])
        #expect(choice.replicas[2].reason.contains("r0 -> r2"))
        // The other way round all wait for what it contributes.
        for index in topology.links.indices where topology.links[index].b == RegionID(2) {
            topology.links[index].reverse?.bitsPerSecond = 10_000_000
            topology.links[index].rate = 100_000_000
        }
        let slow = try choose(topology, configuration())
        #expect(slow.perSeat.allSatisfy { $0 == 4 })
    }

    @Test func codecsStayInsideTheOverlap() throws {
        var configuration = configuration()
        configuration.wire.choosesBetween = true
        let topology = topology(rate: 12_000_000)
        let choice = try choose(topology, configuration)
        // int8: 1.63 Mbit for half the model, 135 ms and 30 ms of way.
        #expect(choice.perSeat == [2, 2])
        let time = LinkTime(configuration.schedule, step: 0.1, overlap: choice)
        #expect(abs(time.available - 0.2) < 1e-9 && time.departures == 2)
        let codec = LinkCodec(
            values: 400_000 / time.departures, bitsPerSecond: 12_000_000, roundTripSeconds: 0.03,
            available: time.available)
        #expect(codec.transform == .int8 && codec.fits)
    }

    @Test func anotherHKeepsTheTime() {
        #expect(OverlapChoice.scaled(4, from: 10, to: 5) == 2)
        #expect(OverlapChoice.scaled(3, from: 10, to: 5) == 2)
        #expect(OverlapChoice.scaled(9, from: 10, to: 20) == 18)
        #expect(OverlapChoice.scaled(1, from: 10, to: 2) == 1)
        #expect(OverlapChoice.scaled(1, from: 10, to: 1) == 0)
    }
}
