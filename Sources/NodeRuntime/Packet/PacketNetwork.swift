// Emulated regions that kernel TCP really crosses: one network namespace per region, whose only way
// out is a TUN interface that this process reads and writes.
//
// Compared with the relay it shows slow start, loss and the response to it, the window limit of one
// connection, and packet headers. What it does not show: packets of one direction never overtake one
// another; there is one queue, first in first out, per direction; hosts of a region share one address
// and talk over its loopback interface. The kernel's segmentation offload is on: up to 64 KiB of one
// connection are read, carried and written in one piece, of which each packet takes its own time on the
// link and its own place in the queue, and is lost for itself; the piece arrives with its last packet.

internal import ClusterModel
internal import Foundation
internal import FoundationEssentials
internal import Synchronization
internal import ZeroMQ

/// Running namespaces and their forwarder. Ends with `stop()`, or with the process.
package final class PacketNetwork: Sendable {
    package let configuration: PacketConfiguration
    /// One per region, in the configuration's order.
    package let namespaces: [NetworkNamespace]
    private let stopper: WakeUp
    private let state = Mutex(State())
    private let ended = DispatchSemaphore(value: 0)

    private struct State {
        var directions: [RelayReport.Direction] = []
        var seconds = 0.0
    }

    /// - Throws: `RelayError` naming what the machine refuses.
    package init(_ configuration: PacketConfiguration) throws {
        guard configuration.regions.count <= PacketLimits.regions else {
            throw RelayError(
                "start", "packet mode",
                reason: "\(configuration.regions.count) regions; it takes \(PacketLimits.regions)")
        }
        self.configuration = configuration
        let namespaces = try configuration.regions.map { _ in try NetworkNamespace() }
        self.namespaces = namespaces
        for namespace in namespaces {
            // What a real network has beside IPv4 is noise here.
            _ = namespace.set("ipv6/conf/all/disable_ipv6", "1")
            if let name = configuration.congestionControl,
                !namespace.set("ipv4/tcp_congestion_control", name)
            {
                throw RelayError(
                    "set", "the congestion control of a namespace",
                    reason: "the kernel refuses `\(name)`",
                    hint: "as root: sysctl -w net.ipv4.tcp_allowed_congestion_control="
                        + "'reno cubic bbr', as far as the kernel has them")
            }
        }
        stopper = try WakeUp()
        let ready = DispatchSemaphore(value: 0)
        let failure = Mutex<RelayError?>(nil)
        Thread.detachNewThread { [self] in
            do {
                let loop = try makeLoop()
                ready.signal()
                loop.run()
            } catch {
                failure.withLock { $0 = error as? RelayError }
                ready.signal()
            }
            ended.signal()
        }
        ready.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    /// Devices belong to the forwarder's thread.
    private func makeLoop() throws -> PacketLoop {
        var devices: [TunDevice] = []
        for (index, namespace) in namespaces.enumerated() {
            devices.append(
                try TunDevice(
                    in: namespace, address: PacketLimits.address(ofRegion: index),
                    mask: PacketLimits.mask, mtu: PacketLimits.packetBytes))
        }
        return try PacketLoop(configuration, devices: devices, stop: stopper) {
            directions, seconds in
            self.state.withLock { $0 = State(directions: directions, seconds: seconds) }
        }
    }

    /// Ends the forwarder; namespaces go when the last process in them has ended.
    package func stop() {
        stopper.signal()
        ended.wait()
        ended.signal()
    }

    /// IPv4 address of a region.
    package func address(ofRegion index: Int) -> String {
        SocksDestination(
            isIPv6: false, ipv4: PacketLimits.address(ofRegion: index), port: 0
        ).host
    }

    /// Counts of every direction, at most a second old; whole after `stop()`.
    package var directions: [RelayReport.Direction] { state.withLock { $0.directions } }

    /// What crossed a link, in the relay's form.
    package func report(between a: Int, and b: Int) -> RelayReport? {
        state.withLock { state in
            let names = configuration.regions
            func find(_ from: Int, _ to: Int) -> RelayReport.Direction? {
                state.directions.first { $0.from == names[from] && $0.to == names[to] }
            }
            guard let forth = find(a, b), let back = find(b, a) else { return nil }
            return RelayReport(
                seed: configuration.seed, seconds: state.seconds, aToB: forth, bToA: back)
        }
    }

    /// Why this machine cannot run packet mode; nil when it can.
    package static func refusal() -> String? {
        do {
            let probe = try PacketNetwork(
                PacketConfiguration(regions: ["probe"], paths: [], seed: 0))
            probe.stop()
            return nil
        } catch { return "\(error)" }
    }
}
