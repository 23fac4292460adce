import ClusterModel
import Coordination
import Foundation
import WireProtocol
package import ZeroMQ

/// The receiving end of `longhaul bench lanes`: the shipped sockets and lane machines, and a journal of
/// the chunks that were delivered. The journal is written before they are acknowledged, so that it
/// outlives a killed process.
package final class LaneReceiver {
    private let setup: LaneBenchSetup
    private let context: Context
    private let lanes: LaneSockets
    private let interrupt: Interrupt
    private let journal: FileHandle
    private let incarnation = WallClock.incarnation()
    private let window: UInt64
    private var sessions: [LaneID: LaneSession] = [:]
    private var acknowledgements: [(lane: LaneID, message: WireProtocol.Message)] = []
    private var delivered = Data()

    /// Marks a delivered chunk whose content is not what its checksum says.
    package static let damaged: UInt64 = 1 << 63

    package init(
        _ setup: LaneBenchSetup, keys: CurveKeyPair, listen: String, journal path: String,
        interrupt: Interrupt
    ) throws {
        self.setup = setup
        self.interrupt = interrupt
        context = try Context(ioThreads: 2)
        journal = try AppendOnlyFile.open(path)
        let link = setup.topology.link(between: RegionID(0), and: RegionID(1))
        window = CoordinationLimits.laneWindow(over: link)
        let options = setup.options(
            LaneBenchSetup.receiver, keys: keys, listen: listen, proxies: [:])
        lanes = try LaneSockets(context, options, topology: setup.topology, region: RegionID(1))
        try lanes.allow([
            setup.member(
                LaneBenchSetup.sender, endpoint: "", key: setup.senderKey, incarnation: 1)
        ])
        let me = LaneBenchSetup.Receiver(
            endpoint: lanes.endpoint, key: keys.publicKey, incarnation: incarnation.rawValue)
        FileHandle.standardOutput.write(try JSONEncoder().encode(me) + Data("\n".utf8))
    }

    /// Until it is interrupted.
    package func run() throws {
        defer {
            lanes.close()
            try? context.terminate()
        }
        var poller = Poller()
        poller.add(interrupt.wakeUp, token: 0)
        try lanes.enrol(in: &poller, from: 16)
        var ready: [Poller.Ready] = []
        while !interrupt.isRaised {
            try poller.wait(until: MonotonicClock.now() + 1_000_000_000, into: &ready)
            try lanes.poll(now: MonotonicClock.now()) { try self.take($0) }
            if !delivered.isEmpty {
                try journal.write(contentsOf: delivered)
                delivered = Data()
            }
            let waiting = acknowledgements
            acknowledgements = []
            for (lane, message) in waiting { try send(lane, message) }
        }
    }

    private func take(_ input: LaneSockets.Input) throws {
        guard case .frame(let lane, _, let message, let held, let payload) = input else { return }
        if case .laneHello(let hello) = message {
            guard hello.peerIncarnation == incarnation else { return }
            let share = CoordinationLimits.laneShare(of: window, lanes: hello.lanes)
            if sessions[lane] == nil {
                sessions[lane] = LaneSession(role: .acceptor, hello: hello, window: share)
            }
            for known in sessions.keys.sorted() {
                _ = sessions[known]?.handle(.resize(window: share))
            }
            try apply(sessions[lane]?.handle(.connected) ?? [], of: lane, held, payload)
        }
        try apply(
            sessions[lane]?.handle(
                .received(
                    sequence: sequence(input), message: message, payload: nil,
                    payloadBytes: payload.count)) ?? [], of: lane, held, payload)
    }

    private func sequence(_ input: LaneSockets.Input) -> UInt64 {
        guard case .frame(_, let header, _, _, _) = input else { return 0 }
        return header.sequence
    }

    private func apply(
        _ effects: [LaneSession.Effect], of lane: LaneID, _ held: HeldMessage,
        _ payload: Range<Int>
    ) throws {
        for effect in effects {
            switch effect {
            case .transmit(_, _, let message, _): acknowledge(lane, message)
            case .deliver(.chunk(let chunk), _):
                let sum = held.withBytes { Checksum.xxh3($0.extracting(payload)) }
                var record = UInt64(chunk.position)
                if sum != chunk.weight { record |= Self.damaged }
                note(record)
                try apply(
                    sessions[lane]?.handle(.consumed(bytes: payload.count)) ?? [], of: lane, held,
                    payload)
            case .violation(let what):
                throw NodeError(.violation, "lane \(lane.index): \(what)")
            case .deliver, .acknowledged, .discard, .opened, .broken: break
            }
        }
    }

    private func note(_ record: UInt64) {
        for shift in 0..<8 { delivered.append(UInt8(truncatingIfNeeded: record >> (8 * shift))) }
    }

    /// Cumulative: of one lane and turn the last is enough. A greeting's answer is never replaced.
    private func acknowledge(_ lane: LaneID, _ message: WireProtocol.Message) {
        if case .acknowledge = message,
            let last = acknowledgements.lastIndex(where: { $0.lane == lane }),
            case .acknowledge = acknowledgements[last].message
        {
            acknowledgements[last].message = message
        } else {
            acknowledgements.append((lane, message))
        }
    }

    private func send(_ lane: LaneID, _ message: WireProtocol.Message) throws {
        let header = FrameHeader(
            run: RunID(rawValue: setup.run), incarnation: incarnation, epoch: LaneBenchSetup.epoch,
            rank: Rank(1), lane: lane.index, sequence: 0)
        var frame = try ZeroMQ.Message(
            copying: try FrameEncoder.encode(header: header, message: message))
        if try !lanes.send(lane, &frame) { _ = sessions[lane]?.handle(.disconnected) }
    }
}
