import ArgumentParser
import ClusterModel
import Foundation
import NodeRuntime

/// `longhaul link`: emulated links by themselves.
struct LinkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "link", abstract: "Emulated links: verify them, use them for other programs.",
        discussion: "Formulas, limits and measured tables: docs/links.md.",
        subcommands: [LinkVerifyCommand.self, LinkUpCommand.self, LinkTraceCommand.self])
}

extension LinkMode: ExpressibleByArgument {}
extension LinkPart: ExpressibleByArgument {}

/// `longhaul link verify`: the validation table, measured.
struct LinkVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Measure the emulator against its own parameters.",
        discussion: """
            Real sockets over links with known parameters; about a minute. Ends with code 13 when a \
            row is out of tolerance. Run it on an idle machine: the emulator shares its processors.

            EXAMPLES
              longhaul link verify
              longhaul link verify --mode packet --json      as root
            """)

    @Option(help: "relay (SOCKS5 proxy, no root) or packet (namespaces and TUN, root).")
    var mode = LinkMode.relay

    @Option(help: "A part of the table: idle, jitter, rates, ... Repeatable; all if not given.")
    var only: [LinkPart] = []

    @Option(help: "Seed of jitter and loss.")
    var seed: UInt64 = 1

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        if mode == .packet { try PacketMode.check() }
        let isUrgent = ThreadUrgency.raise(to: .measuring)
        let verifier = LinkVerifier(
            mode: mode, parts: only.isEmpty ? LinkPart.allCases : only, seed: seed
        ) { check in
            Console.error("\(check.passed ? "ok    " : "FAILED") \(check.name)")
        }
        let table = try verifier.run()
        if json {
            try Console.printJSON(table, pretty: true)
        } else {
            print(table.text)
            print(
                "\(mode.rawValue) mode, \(table.checks.count) checks in "
                    + "\(Figures.duration(table.seconds)); the emulator was late by at most "
                    + Figures.duration(table.worstLatenessMilliseconds / 1e3)
                    + (isUrgent ? "" : "; without root it waits for processors like any program"))
        }
        if !table.passed { throw EndOfRun(code: .violation) }
    }
}
