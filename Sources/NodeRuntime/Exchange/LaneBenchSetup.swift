package import ClusterModel
import WireProtocol
package import ZeroMQ

/// What both ends of `longhaul bench lanes` know: two workers in two regions, and numbered chunks from
/// the first to the second.
package struct LaneBenchSetup: Codable, Sendable {
    package var topology: Topology
    package var run: UInt64
    package var chunkBytes: Int
    package var isPlain: Bool
    /// Of the first worker's sockets.
    package var senderKey: CurvePublicKey

    package init(
        topology: Topology, run: UInt64, chunkBytes: Int, isPlain: Bool, senderKey: CurvePublicKey
    ) {
        self.topology = topology
        self.run = run
        self.chunkBytes = chunkBytes
        self.isPlain = isPlain
        self.senderKey = senderKey
    }

    /// One life of the receiving process, as it introduces itself on its standard output.
    package struct Receiver: Codable, Sendable {
        package var endpoint: String
        package var key: CurvePublicKey
        package var incarnation: UInt64
    }

    static let sender = WorkerID(0)
    static let receiver = WorkerID(1)
    /// One membership for the whole run: a new life of the receiver is greeted under the same.
    static let epoch = Epoch(rawValue: 1)
    static let key = CollectiveKey.outer(fragment: FragmentID(0), round: 1)

    func member(
        _ worker: WorkerID, endpoint: String, key: CurvePublicKey, incarnation: UInt64
    ) throws -> PlanMember {
        guard let dataKey = PublicKey(bytes: key.bytes) else {
            preconditionFailure("a CURVE key has 32 bytes")
        }
        let seat = topology.seats[Int(worker.rawValue)]
        return PlanMember(
            rank: Rank(Int(worker.rawValue)), workerID: worker, region: seat.region,
            name: seat.worker.name, endpoint: endpoint, dataKey: dataKey,
            incarnation: Incarnation(rawValue: incarnation), microBatch: 1, sampleOffset: 0,
            syncEvery: 1, overlap: 0, lastStep: 1, state: .ready, stateSource: .none)
    }

    func options(
        _ worker: WorkerID, keys: CurveKeyPair, listen: String, proxies: [String: String]
    ) -> WorkerOptions {
        let seat = topology.seats[Int(worker.rawValue)]
        var options = WorkerOptions(
            name: seat.worker.name, region: topology.regions[seat.region.index].name,
            coordinator: "", coordinatorKey: keys.publicKey, keys: keys, listen: listen,
            directory: "", proxies: proxies)
        options.isPlain = isPlain
        return options
    }
}

/// What the numbered chunks hold: windows into one block of pseudo-random bytes, so that neighbours
/// differ and any end can make any of them.
struct NumberedChunks {
    private let block: [UInt8]
    let bytes: Int

    init(bytes: Int) {
        self.bytes = bytes
        var generator = SeededGenerator(seed: 0x6c61_6e65)
        var block: [UInt8] = []
        while block.count < bytes + 65_536 {
            let value = generator.next()
            for shift in 0..<8 { block.append(UInt8(truncatingIfNeeded: value >> (8 * shift))) }
        }
        self.block = block
    }

    func content(_ number: UInt32) -> [UInt8] {
        let start = Int(number % 65_536)
        return Array(block[start..<(start + bytes)])
    }

    /// The number stands in `position`, XXH3-64 of the content in `weight`.
    func chunk(_ number: UInt32, _ content: [UInt8]) -> Chunk {
        Chunk(
            key: LaneBenchSetup.key, kind: .contribution, transform: .fp32, stage: .stored,
            slice: 1, group: 0, position: number, elements: UInt32(bytes / 4),
            weight: Checksum.xxh3(content.span), origin: Rank(0), flags: [])
    }
}
