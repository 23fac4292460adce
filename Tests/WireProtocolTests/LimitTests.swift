import ClusterModel
import Testing
import WireProtocol

/// Messages at and beyond their limits; the encoder refuses what the decoder would refuse.
struct LimitTests {
    private let header = FrameHeader(
        run: RunID(rawValue: 1), incarnation: Incarnation(rawValue: 2), epoch: Epoch(rawValue: 3),
        rank: Rank(4), sequence: 5)

    private func roundTrip(_ message: Message) throws -> Int {
        let bytes = try FrameEncoder.encode(header: header, message: message)
        let limits = message.type.isPermitted(on: .control) ? FrameLimits.control : .data
        let frame = try FrameDecoder.decode(bytes.span, limits: limits)
        let nothing = bytes.count..<bytes.count
        #expect(frame == Frame(header: header, message: message, payload: nothing))
        return bytes.count
    }

    private func member(_ rank: Int) throws -> PlanMember {
        PlanMember(
            rank: Rank(rank), workerID: WorkerID(rank), region: RegionID(rank % 7),
            name: "worker-\(rank)", endpoint: "tcp://10.0.0.\(rank % 250):40000",
            dataKey: try #require(PublicKey(bytes: [UInt8](repeating: 7, count: 32))),
            incarnation: Incarnation(rawValue: 9), microBatch: 8, sampleOffset: 0, syncEvery: 50,
            overlap: 2, lastStep: 300, state: .ready,
            stateSource: .none)
    }

    private func plan(_ members: Int) throws -> Message {
        .plan(
            Plan(
                planVersion: 1, activateAtRound: 0, members: try (0..<members).map(member),
                fragments: [], regionTransform: .fp32, poolTransform: .int8,
                samplesPerStep: 8))
    }

    @Test func sixHundredMembersFitAControlFrameAndAThousandAreRefused() throws {
        #expect(try roundTrip(plan(600)) <= ProtocolLimits.controlFrameBytes)
        let error = try #require(throws: FrameError.self) {
            try FrameEncoder.encode(header: header, message: plan(1000))
        }
        #expect(error.name == "metaLength")
    }

    @Test func blocksOfExpertsThatTouchPassAndOverlappingOnesAreRefused() throws {
        func plan(_ second: UInt64) -> Message {
            var plan = Plan(
                planVersion: 1, activateAtRound: 0, members: [], fragments: [],
                regionTransform: .fp32, poolTransform: .int8, samplesPerStep: 8)
            plan.experts = [
                ExpertBlock(start: 100, each: 64, count: 8),
                ExpertBlock(start: second, each: 1, count: 1),
            ]
            return .plan(plan)
        }
        _ = try roundTrip(plan(612))
        #expect(
            throws: FrameError.outOfRange(
                field: "PLAN.experts.start", offset: 106, allowed: 612...(1 << 62) - 1, got: 611)
        ) {
            try FrameEncoder.encode(header: header, message: plan(611))
        }
    }

    @Test func textAtItsLimitPassesAndOneByteMoreIsRefused() throws {
        let longest = String(repeating: "x", count: ProtocolLimits.textBytes)
        _ = try roundTrip(.leave(Leave(code: 69, reason: longest)))
        #expect(
            throws: FrameError.textTooLong(
                field: "LEAVE.reason", offset: 66, limit: 1024, got: 1025)
        ) {
            try FrameEncoder.encode(
                header: header, message: .leave(Leave(code: 69, reason: longest + "x")))
        }
    }

    @Test func configurationOf48KiBPassesAndOneByteMoreIsRefused() throws {
        func welcome(_ count: Int) -> Message {
            .welcome(
                Welcome(
                    workerID: WorkerID(0), version: 1, configurationDigest: 0,
                    configuration: String(repeating: " ", count: count), echoSentAt: .zero,
                    coordinatorTime: .zero))
        }
        _ = try roundTrip(welcome(48 * 1024))
        let error = try #require(throws: FrameError.self) {
            try FrameEncoder.encode(header: header, message: welcome(48 * 1024 + 1))
        }
        #expect(error.name == "textTooLong")
    }

    @Test func listsAtTheirLimitsPassAndOneEntryMoreIsRefused() throws {
        func holdings(_ count: Int) -> Message {
            .ready(
                Ready(
                    planVersion: 1, step: 1,
                    holdings: (0..<count).map {
                        Holding(
                            key: .outer(fragment: FragmentID($0), round: 1), state: .holdsMean)
                    }))
        }
        func waiting(_ count: Int) -> Message {
            .heartbeat(
                Heartbeat(
                    sentAt: .zero, step: 0, phase: .linking,
                    waitingForRanks: (0..<count).map { Rank($0) }, samples: 0))
        }
        func close(_ count: Int) -> Message {
            .close(
                Close(
                    key: .inner(region: RegionID(0), step: 1),
                    contributions: (0..<count).map {
                        Close.Contribution(rank: Rank($0), weight: 1)
                    }))
        }
        func verdicts(_ count: Int) -> Message {
            .go(
                Go(
                    planVersion: 1,
                    verdicts: (0..<count).map {
                        Verdict(
                            key: .outer(fragment: FragmentID($0), round: 1), verdict: .restart,
                            holder: .none)
                    }))
        }
        for message in [holdings, waiting, close, verdicts] {
            _ = try roundTrip(message(1024))
            let error = try #require(throws: FrameError.self) {
                try FrameEncoder.encode(header: header, message: message(1025))
            }
            #expect(error.name == "listTooLong")
        }
    }

    @Test func chunkOf256KiBPassesInPlaceAndItsPayloadIsWhereItWasPut() throws {
        let chunk = Chunk(
            key: .outer(fragment: FragmentID(0), round: 1), kind: .contribution, transform: .fp32,
            stage: .stored, slice: 0, group: 0, position: 0, elements: 65_536, weight: 1,
            origin: Rank(4), flags: [])
        let count = ProtocolLimits.dataPayloadBytes
        var buffer = [UInt8](repeating: 0x5A, count: Chunk.payloadOffset + count)
        var span = buffer.mutableSpan
        let total = try FrameEncoder.seal(
            header: header, message: .chunk(chunk), payloadCount: count, in: &span)
        #expect(total == buffer.count)
        let frame = try FrameDecoder.decode(buffer.span, limits: .data)
        #expect(frame.payload == Chunk.payloadOffset..<total)
        #expect(frame.message == .chunk(chunk))

        let tooLong = [UInt8](repeating: 0, count: count + 1)
        let error = try #require(throws: FrameError.self) {
            try FrameEncoder.encode(
                header: header, message: .chunk(chunk), payload: tooLong.span)
        }
        #expect(error.name == "payloadLength")
    }

    @Test func encoderRefusesWhatOnlyTheDecoderCouldSeeOtherwise() throws {
        let key = CollectiveKey(
            scope: .pool, region: RegionID(0), fragment: FragmentID(0), round: 1)
        let state = StateChunk(
            item: .parameters, start: 0, count: 2, total: 2, round: 0, step: 0, digest: 0)
        let hello = Enrol(
            worker: "../etc", region: "a",
            controlKey: try #require(PublicKey(bytes: [UInt8](repeating: 1, count: 32))))
        var flagged = header
        flagged.flags = .forwarded
        let cases: [(FrameHeader, Message, [UInt8], String)] = [
            (header, .report(Report(key: key, digest: 0, step: 0, tokens: 0)), [], "outOfRange"),
            (header, .stateChunk(state), [0, 0, 0, 0], "payloadLength"),
            (header, .enrol(hello), [], "invalidName"),
            (header, .event(EventMessage()), [0x22, 0xFF, 0x22], "invalidUTF8"),
            (header, .stop(Stop(code: 0, reason: "a\0b", save: true)), [], "nulInText"),
            (flagged, .bye(Bye()), [], "undefinedFlags"),
        ]
        for (header, message, payload, name) in cases {
            let error = try #require(throws: FrameError.self) {
                try FrameEncoder.encode(header: header, message: message, payload: payload.span)
            }
            #expect(error.name == name, "\(error)")
        }
    }
}
