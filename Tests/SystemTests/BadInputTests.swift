import Foundation
import Testing

extension SystemTests {
    /// What cannot be right is refused before anything starts, in words that name it.
    @Suite("Input that cannot be right") struct BadInput {
        private func file(_ scratch: Scratch, _ name: String, _ text: String = "") throws -> String
        {
            try text.write(toFile: scratch.path(name), atomically: true, encoding: .utf8)
            return scratch.path(name)
        }

        @Test("a directory or nothing where a file is wanted, and the other way round")
        func kinds() async throws {
            try await withScratch { scratch in
                let cluster = try SmallCluster().write(to: scratch)
                let (folder, empty) = (scratch.path("folder"), try file(scratch, "empty"))
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true)
                for command in ["up", "measure", "predict", "simulate", "check"] {
                    try await check(scratch, [command, folder], 78, "this is a directory")
                }
                for arguments in [
                    ["replay", folder], ["place", "--input", folder],
                    ["up", cluster, "--data", folder],
                ] {
                    try await check(scratch, arguments, 65, "this is a directory")
                }
                for arguments in [
                    ["up", cluster, "--record", folder], ["simulate", cluster, "--trace", folder],
                ] {
                    try await check(scratch, arguments, 69, "this is a directory")
                }
                try await check(scratch, ["replay", "none"], 65, "there is no such file")
                for command in [["up"], ["measure"], ["predict"], ["simulate"]] {
                    try await check(
                        scratch, command + [cluster, "--dir", empty], 69,
                        "there is a file of that name",
                        hint: "--dir")
                    try await check(
                        scratch, command + [cluster, "--dir", "/proc/none"], 69,
                        "'/proc' is there, and takes no directory", hint: "--dir")
                    try await check(scratch, command + [cluster, "--dir", ""], 2, "no directory")
                }
                // A directory without a run began another one.
                try await check(
                    scratch, ["up", cluster, "--resume", folder], 65, "run.sqlite is missing")
                try await check(scratch, ["up", cluster, "--resume", empty], 65, "to resume")
            }
        }

        @Test("a recording is not emptied by a run that is refused")
        func recording() async throws {
            try await withScratch { scratch in
                let cluster = try SmallCluster().write(to: scratch)
                let recording = try file(scratch, "recording", "of before")
                let taken = scratch.path("taken")
                try FileManager.default.createDirectory(
                    atPath: taken, withIntermediateDirectories: true)
                _ = try file(scratch, "taken/run.sqlite")
                let up = ["up", cluster, "--record", recording]
                try await check(
                    scratch, up + ["--dir", taken], 2, "has the record of another run")
                try await check(
                    scratch, up + ["--resume", scratch.path("none")], 65, "to resume")
                try #expect(String(contentsOfFile: recording, encoding: .utf8) == "of before")
            }
        }

        @Test("a device that takes nothing is named, and not replaced by a file")
        func device() async throws {
            try await withScratch { scratch in
                let cluster = try SmallCluster().write(to: scratch)
                let traced = try Program(
                    "longhaul", ["simulate", cluster, "--trace", "/dev/full"], in: scratch)
                try await #expect(traced.ending() == .code(69))
                #expect(traced.errors.contains("cannot write the trace '/dev/full'"))
                let type = try FileManager.default.attributesOfItem(atPath: "/dev/full")[.type]
                #expect(type as? FileAttributeType == .typeCharacterSpecial)
            }
        }

        @Test("a full disk is said before the run")
        func full() async throws {
            try await withScratch { scratch in
                guard let disk = try scratch.mountSmallDisk(kilobytes: 4) else {
                    print("skipped: mounting a small disk needs root")
                    return
                }
                let cluster = try SmallCluster().write(to: scratch)
                _ = FileManager.default.createFile(
                    atPath: "\(disk)/filler", contents: Data(repeating: 1, count: 4_096))
                for command in [["up"], ["measure"], ["predict"], ["simulate"]] {
                    try await check(
                        scratch, command + [cluster, "--dir", disk], 69,
                        "cannot write to the directory",
                        hint: "room")
                }
            }
        }

        private let bandwidth = [
            "bandwidth", "--parameters", "1B", "--layers", "24", "--step-time", "1s", "--method",
            "streaming",
        ]

        @Test("numbers with units are checked with them")
        func units() async throws {
            try await withScratch { scratch in
                for (flag, value, says) in [
                    // With its unit the first was 0, a crash, and the second infinite, a NaN.
                    ("--step-time", "1e-322ms", "'1e-322ms' is not a positive number"),
                    ("--step-time", "1e308min", "'1e308min' is not a positive number"),
                    ("--step-time", "1e-10s", "1e-10s is not in 1e-9 to 1e9 seconds"),
                    ("--step-time", "1e10", "1e10 is not in 1e-9 to 1e9 seconds"),
                    ("--parameters", "1e308T", "'1e308T' is not a positive number"),
                    ("--parameters", "1e31", "1e31 is not in 1 to 1e30"),
                ] {
                    var arguments = bandwidth
                    let place = try #require(arguments.firstIndex(of: flag))
                    arguments[place + 1] = value
                    try await check(scratch, arguments, 2, "\(flag) \(says)")
                }
            }
        }

        @Test("numbers out of range are named, negative ones too")
        func numbers() async throws {
            try await withScratch { scratch in
                let cluster = try SmallCluster().write(to: scratch)
                let huge = "9223372036854775807"
                for (arguments, says) in [
                    (["up", cluster, "--steps", "-1"], "'-1' is invalid for '--steps"),
                    (["up", cluster, "--link-rate", "-5"], "--link-rate -5.0 is not in"),
                    (["simulate", "--workers", "-3"], "--workers -3 is not in 1 to"),
                    (["simulate", "--workers", huge], "--workers \(huge) is not in 1 to"),
                    (
                        ["simulate", "--workers", "4", "--regions", "5"],
                        "--regions 5 is not in 1 to 4"
                    ),
                    (["simulate", "--workers", "4", "--rounds", "0"], "--rounds 0 is not in 1 to"),
                    (["simulate", "--workers", "4", "--rate", "nan"], "--rate nan is not in"),
                    (["simulate", cluster, "--seeds", "1..2"], "--seeds belongs to --swarm"),
                    (["simulate", cluster, "--verbose"], "--verbose belongs to --swarm"),
                    (
                        ["measure", cluster, "--sweep", "rate=1e-9..2Mbit/s,distance=0..1km"],
                        "is not a range"
                    ),
                    (
                        ["measure", cluster, "--sweep", "rate=1..2Mbit/s,distance=0..30000km"],
                        "is not a range"
                    ),
                    (
                        [
                            "measure", cluster, "--sweep", "rate=1..2Mbit/s,distance=0..1km",
                            "--real-points", "0",
                        ], "--real-points 0 is not in 1 to 100"
                    ),
                    (bandwidth + ["--sync-every", huge], "--sync-every \(huge) is not in"),
                    (bandwidth + ["--overlap", huge], "--overlap \(huge) is not in"),
                    (bandwidth + ["--overlap", "-1"], "--overlap -1 is not in"),
                    (
                        bandwidth + ["--fragment-layers", "25"],
                        "--fragment-layers 25 is not in 1 to 24"
                    ),
                    (
                        bandwidth + ["--utilisation", "1"],
                        "--utilisation 1.0 is not between 0 and 1"
                    ),
                    (bandwidth + ["--bits", "-2"], "--bits -2.0 is not a positive number"),
                    (bandwidth + ["--bits", "1e308"], "--bits 1e+308 is not a positive number up"),
                    (bandwidth + ["--sync-every", "1000000"], "too much to compute"),
                ] {
                    try await check(scratch, arguments, 2, says)
                }
                for seeds in ["1..", "1..\(huge)\(huge)", "-1..1", "5..1", "1..2..3", "x"] {
                    let swarm = try Program(
                        "longhaul", ["simulate", "--swarm", "--seeds", seeds], in: scratch)
                    try await #expect(swarm.ending() == .code(2))
                    #expect(swarm.errors.contains("--seeds '\(seeds)' is not A..B"))
                }
                for layers in [huge, "1000000000", "0"] {
                    try await check(
                        scratch,
                        Array(bandwidth.prefix(3)) + ["--layers", layers] + bandwidth.suffix(4),
                        2, "--layers \(layers) is not in 1 to 1,000,000")
                }
            }
        }

        /// Each crashed, ran for ever, or was not noticed.
        @Test("loads that cannot be placed are refused")
        func places() async throws {
            try await withScratch { scratch in
                let many = Array(repeating: "1", count: 40_000).joined(separator: ",")
                for (change, says) in [
                    ("\"speed\": [1e-320, 1e308]", "speed needs a number of 1e-30 to 1e+30"),
                    ("\"slots\": [9223372036854775807, 1]", "slots of 2 devices must sum"),
                    ("\"weight\": [[1e308, 1e308]]", "a load that is not in 0 to 1e+30"),
                    ("\"speed\": [1, 1], \"move_cost\": 1e308", "move_cost is not in 0 to 1e+30"),
                    ("\"speed\": [1, 1], \"link\": [[0]]", "link needs a rate"),
                    ("\"move-cost\": 1", "unknown key 'move-cost'"),
                    (
                        "\"speed\": [1], \"devices\": 1048576, \"nodes\": 1048576",
                        "at most 16384 devices"
                    ),
                    ("\"speed\": [1, 1], \"replicas\": 65536", "too many for a pool"),
                    ("\"weight\": [[\(many)]], \"replicas\": 1048576", "too many: at most"),
                ] {
                    var keys = [
                        "\"weight\": [[9, 1, 4, 2]]", "\"replicas\": 6", "\"groups\": 1",
                        "\"nodes\": 1",
                        "\"devices\": 2",
                    ]
                    keys.removeAll { key in
                        change.contains(String(key.prefix { $0 != ":" }) + ":")
                    }
                    let path = try file(
                        scratch, "loads.json", "{\((keys + [change]).joined(separator: ", "))}")
                    try await check(scratch, ["place", "--input", path], 65, says)
                }
            }
        }
    }
}
