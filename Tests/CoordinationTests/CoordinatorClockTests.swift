import ClusterModel
import Coordination
import Testing
import WireProtocol

/// What answers tell a worker of the coordinator's clock.
@Suite struct CoordinatorClockTests {
    private static func milliseconds(_ value: Int64) -> Instant {
        Instant(nanoseconds: value * 1_000_000)
    }

    private func answer(asked: Int64, written: Int64) -> Message {
        .heartbeatAck(
            HeartbeatAck(
                echoSentAt: Self.milliseconds(asked), coordinatorTime: Self.milliseconds(written)))
    }

    /// The coordinator's clock is 5 s ahead; the first answer takes 15 ms each way.
    private var told: CoordinatorClock {
        var clock = CoordinatorClock()
        clock.heard(
            .welcome(
                Welcome(
                    workerID: WorkerID(0), version: 1, configurationDigest: 0, configuration: "",
                    echoSentAt: Self.milliseconds(100), coordinatorTime: Self.milliseconds(5_115))),
            at: Self.milliseconds(130))
        return clock
    }

    @Test func theFirstAnswerIsOffByLessThanItsRoundTrip() {
        #expect((4_985...5_015).contains(told.ahead.nanoseconds / 1_000_000))
        #expect(told.time(Self.milliseconds(200)) == Self.milliseconds(200) + told.ahead)
    }

    /// 1.5 s there, behind bulk, and 15 ms back: the middle would be 742 ms off.
    @Test func anAnswerThatWasLongOnItsWayChangesNothing() {
        var clock = told
        clock.heard(answer(asked: 1_000, written: 7_500), at: Self.milliseconds(2_515))
        #expect(clock == told)
    }

    @Test func clocksThatDriftAreFollowed() {
        var clock = told
        clock.heard(answer(asked: 9_000, written: 14_065), at: Self.milliseconds(9_030))
        #expect((5_035...5_065).contains(clock.ahead.nanoseconds / 1_000_000))
    }

    /// Its clock begins at zero again.
    @Test func aNewCoordinatorsClockIsTaken() {
        var clock = told
        clock.heard(answer(asked: 60_000, written: 1_015), at: Self.milliseconds(60_030))
        #expect((-59_015 ... -58_985).contains(clock.ahead.nanoseconds / 1_000_000))
    }

    @Test func whatNobodyAskedForAndWhatCannotBeSayNothing() {
        var clock = told
        clock.heard(answer(asked: 0, written: 90_000), at: Self.milliseconds(200))
        clock.heard(answer(asked: 900, written: 90_000), at: Self.milliseconds(200))
        clock.heard(
            .heartbeatAck(
                HeartbeatAck(
                    echoSentAt: Self.milliseconds(1), coordinatorTime: Instant(nanoseconds: .min))),
            at: Self.milliseconds(200))
        #expect(clock == told)
    }
}
