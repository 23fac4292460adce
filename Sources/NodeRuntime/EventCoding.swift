package import ClusterModel
import Foundation
import WireProtocol

/// Run events as the UTF-8 JSON that EVENT frames carry.
package enum EventCoding {
    package static func encode(_ event: RunEvent) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let data = try? encoder.encode(event), data.count <= ProtocolLimits.eventBytes else {
            return encode(.note(source: "event", text: "an event was too large to send"))
        }
        return Array(data)
    }

    /// Nil for what this version does not know: a newer worker may report more.
    package static func decode(_ bytes: [UInt8]) -> RunEvent? {
        try? JSONDecoder().decode(RunEvent.self, from: Data(bytes))
    }
}

/// What WELCOME carries: all a worker must know.
package struct Briefing: Codable, Sendable, Equatable {
    package var configuration: RunConfiguration
    package var topology: Topology
    package init(configuration: RunConfiguration, topology: Topology) {
        self.configuration = configuration
        self.topology = topology
    }

    package var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let data = try? encoder.encode(self) else {
            preconditionFailure("a configuration is always encodable")
        }
        return String(decoding: data, as: UTF8.self)
    }

    package init(text: String) throws {
        self = try JSONDecoder().decode(Briefing.self, from: Data(text.utf8))
    }
}
