import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime

/// `longhaul relay`: one emulated link, started by `longhaul up`.
struct RelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay", abstract: "Emulate one link between two regions (SOCKS5).",
        discussion: """
            Two ports on 127.0.0.1: diallers of the first region use one, of the second the other. A \
            relay ends TCP: slow start and loss response of the real link do not show.
            """)

    @Argument(help: "Relay configuration (JSON), as written by 'longhaul up'.")
    var file: String

    func run() throws {
        guard let data = FileManager.default.contents(atPath: file),
            let configuration = try? JSONDecoder().decode(RelayConfiguration.self, from: data)
        else {
            throw Failure(.configuration, "cannot read the relay configuration '\(file)'")
        }
        // Other threads exist already, so signals are taken by handler, not by descriptor.
        let interrupt = try Interrupt()
        interrupt.install()
        try Relay.run(configuration, stop: interrupt.wakeUp)
    }
}
