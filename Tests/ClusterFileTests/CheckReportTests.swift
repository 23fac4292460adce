import ClusterFile
import ClusterModel
import Foundation
import Testing

/// The effective plan, against figures reckoned by hand.
struct CheckReportTests {
    private func report(_ yaml: String) throws -> CheckReport {
        CheckReport(try ClusterFile.read(yaml: yaml, file: "test.yaml"), path: "test.yaml")
    }

    @Test func standardModelHasTheParametersOfItsTensors() {
        var model = RunConfiguration.Model.standard
        #expect(model.parameterCount == 478_976)
        model.tiedHead = true
        #expect(model.parameterCount == 478_976 - 256 * 128 - 256)
        model.tiedHead = false
        model.experts = .init(count: 8, width: 512)
        // As `longhaul bench train --moe` counts the tensors.
        #expect(model.parameterCount == 2_325_008)
        model.experts?.shared = 2
        model.experts?.balance = .quantile
        #expect(
            model.parameterCount == 2_325_008 + 2 * (2 * 1_024 * 128 + 1_024 + 128 + 8 * 1_000))
    }

    /// 4 of 8 experts with each of two workers, top-2: a token needs the other one's with 1 - 6/28. Fp32 of
    /// width 128: 4 x 512 bytes a row and layer, and 24 of experts and weights.
    @Test func spreadExpertsSayWhatTokensCost() throws {
        let model =
            "model: {experts: 8, top_k: 2, width: 128, layers: 2, context: 128, spread: region}"
        let report = try report(try Sample.twoRegions(replacing: "seed: 7", with: model))
        let notes = report.notes.filter { $0.contains("Experts are spread") }
        #expect(notes.count == 2)
        let perToken = (1.0 - 6.0 / 28) * Double(4 * 512 + 24) * 2
        let east = Figures.bytes(4 * 128 * perToken / 2)
        #expect(notes[0].contains("\(east) leave a worker per step"), "\(notes[0])")
        #expect(notes[0].contains("the 2 workers of east"))
        #expect(report.text.contains("spread over each region"))
        // 2 N without; N of means, what is no expert's, and of the experts what leaves its holder's half.
        let (n, expert) = (2_325_008.0, 131_712.0)
        #expect(notes[0].contains("(else \(Figures.bytes(2 * n * 4)))"), "\(notes[0])")
        // Who computes an expert owns it: what is contributed is what is no expert's.
        let sent = n + (n - 16 * expert)
        let said = try #require(
            notes[0].split(separator: "all-reduce ").last?.split(separator: " of ").first)
        #expect(said == Figures.bytes(sent * 4), "\(notes[0])")
    }

    @Test func unlikeRegionsSendWhatTheirSharesSay() throws {
        // Three of four workers in the east: the east owns 3/4 of N, the west 1/4.
        let yaml = """
            name: test
            steps: 60
            coordinator: east
            regions:
              east: {workers: [{name: a, batch: 1}, {name: b, batch: 1}, {name: c, batch: 1}]}
              west: {workers: [{name: d, batch: 1}]}
            links: [{between: [east, west], one_way: 15 ms, rate: 8 Mbit/s}]
            schedule: {outer: diloco, sync_every: 30}
            wire: {between: bf16}
            """
        let report = try report(yaml)
        let n = 478_976.0
        #expect(report.links.map(\.from) == ["east", "west"])
        // East: contributions N/4, means 3N/4. West: contributions 3N/4, means N/4.
        #expect(report.links.map(\.bytesPerRound) == [UInt64(n * 2), UInt64(n * 2)])
        #expect(report.links.map(\.transferSeconds) == [n * 2 / 1e6, n * 2 / 1e6])
        #expect(report.rounds == 2)
        #expect(report.links[0].bytes == UInt64(n * 4))
        #expect(report.prediction == nil)
        #expect(report.predictionAbsent?.contains("nominal") == true)
    }

    @Test func threeRegionsSendTheMeansToEachOther() throws {
        let yaml = """
            name: test
            steps: 60
            coordinator: a
            regions:
              a: {workers: [{name: a1, batch: 1}, {name: a2, batch: 1}]}
              b: {workers: [{name: b1, batch: 1}]}
              c: {workers: [{name: c1, batch: 1}]}
            schedule: {outer: local-sgd, sync_every: 30}
            wire: {between: int8}
            """
        let report = try report(yaml)
        let perValue = 1 + 4.0 / 256
        let n = 478_976.0
        let fromA = report.links.filter { $0.from == "a" }.reduce(0) { $0 + $1.bytesPerRound }
        // N (1 - m/M) + N (m/M) (R - 1) with m = 2, M = 4, R = 3.
        #expect(fromA == UInt64((n * 0.5 + n * 0.5 * 2) * perValue))
        #expect(report.bytesPerValueBetween == perValue)
    }

    @Test(arguments: [("diloco", 1.0), ("decoupled", 2.0)])
    func workersThatAreReplicasCrossOnceUnlessSetsAreClosed(outer: String, times: Double) throws {
        let yaml = try Sample.twoRegions(replacing: "inner: every-step", with: "inner: none")
        let report = try report(yaml.replacing("outer: diloco", with: "outer: \(outer)"))
        // The east contributes N/2 to owners in the west, and gets the means of what the west owns. Where
        // sets are of single replicas, N/2 from each of two, and to each of two.
        #expect(report.replicas == 4)
        #expect(report.links[0].bytesPerRound == UInt64(478_976 * times * (1 + 4.0 / 256)))
    }

    @Test func predictionIsComputeOverComputePlusTransferAndRoundTrip() throws {
        let report = try report(Sample.twoRegions)
        let bytes = 478_976 * (1 + 4.0 / 256)
        let blocked = bytes * 8 / 20e6 + 0.030
        let prediction = try #require(report.prediction)
        #expect(abs(prediction.blockedSeconds - blocked) < 1e-6)
        #expect(abs(prediction.computeUtilisation - 3 / (3 + blocked)) < 1e-9)
        #expect(report.tokensPerStep == 8 * 128)
        #expect(abs(prediction.tokensPerSecond - 30 * 1024 / (3 + blocked)) < 1e-6)
        let fill = try #require(report.similarity.linkFill)
        #expect(abs(fill - bytes * 8 / (20e6 * 3)) < 1e-9)
        #expect(abs(try #require(report.similarity.roundTripPerStep) - 0.3) < 1e-12)
    }

    @Test func fullScaleRatiosAreThePublishedCase() throws {
        let full = SimilarityRatios.FullScale.ratios
        #expect(abs(try #require(full.linkFill) - 0.3265) < 1e-4)
        #expect(abs(try #require(full.roundTripPerStep) - 0.030 / 4.9) < 1e-12)
        #expect(full.linkSentence.contains("10 Gbit/s"))
        #expect(full.linkSentence.hasSuffix("on bandwidth this run is alike."))
        let emptier = SimilarityRatios(linkFill: 0.03, roundTripPerStep: 0.3)
        #expect(emptier.linkSentence.contains("favourable side"))
        #expect(!emptier.linkSentence.contains("unfavourable"))
        #expect(emptier.delaySentence.contains("unfavourable side"))
    }

    @Test func theTextHasThePlanAndTheModelOfThePrediction() throws {
        let text = try report(Sample.twoRegions).text
        for part in [
            "4 workers in 2 regions", "478,976", "diloco, H = 30", "east -> west", "486 kB",
            "predicted CU", "exchange inside a region", "full scale", "Links are emulated",
        ] {
            #expect(text.contains(part), "\(part) is missing in:\n\(text)")
        }
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 120 })
    }

    @Test func whoCannotBeDialledAndWhoPassesOnIsSaid() throws {
        let hidden = try Sample.twoRegions(
            replacing: "{name: e2, batch: 1, step: 100 ms}",
            with: "{name: e2, batch: 1, step: 100 ms, dial_out: true}"
        ).replacing(
            "{name: w2, batch: 2, step: 100 ms}",
            with: "{name: w2, batch: 2, step: 100 ms, dial_out: true}")
        let notes = try report(hidden).notes
        #expect(
            notes.contains(
                "Only dial out: e2, w2. Relayed: e2 - w2 via e1; those bytes cross twice."))
        var nobody = Sample.twoRegions
        for name in ["e1", "e2", "w1", "w2"] {
            nobody = nobody.replacing("{name: \(name),", with: "{name: \(name), dial_out: true,")
        }
        #expect(try report(nobody).notes.contains { $0.hasPrefix("Nobody can be dialled") })
        let issues = Sample.issues(
            try Sample.twoRegions(
                replacing: "{name: e2, batch: 1, step: 100 ms}",
                with: "{name: e2, batch: 1, step: 100 ms, dial_out: yes}"))
        #expect(issues.count == 1)
    }

    @Test func theJSONReadsBackAsTheSameReport() throws {
        let report = try report(Sample.twoRegions)
        let data = try report.json()
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        #expect(try decoder.decode(CheckReport.self, from: data) == report)
        #expect(String(decoding: data, as: UTF8.self).contains("\"bytes_per_round\""))
    }
}

/// What would fit each link.
struct LinkCodecTests {
    @Test func checkSaysWhichEncodingFitsAndWhy() throws {
        let yaml = try Sample.twoRegions(replacing: "sync_every: 30", with: "sync_every: 60")
        let report = CheckReport(try ClusterFile.read(yaml: yaml, file: "t"), path: "t")
        let codec = try #require(report.links[0].codec)
        // 1 % of 60 steps of 100 ms; one round trip of 30 ms, and 427,008 values at 20 Mbit/s.
        #expect(abs(codec.availableSeconds - 0.06) < 1e-9)
        #expect(codec.transform == .int4 && !codec.fits)
        #expect(report.text.contains("east -> west  int4: even int4 takes"))
        let fast = CheckReport(
            try ClusterFile.read(
                yaml: yaml.replacing("rate: 20 Mbit/s", with: "rate: 1 Gbit/s"), file: "t"),
            path: "t")
        #expect(fast.links[0].codec?.transform == .fp32)
    }

    @Test func autoReckonsWithWhatEachLinkCarries() throws {
        let yaml = try Sample.twoRegions(replacing: "between: int8", with: "between: auto")
            .replacing("rate: 20 Mbit/s", with: "rate: 200 Mbit/s")
            .replacing("sync_every: 30", with: "sync_every: 60")
        let file = try ClusterFile.read(yaml: yaml, file: "t")
        #expect(file.configuration.wire.choosesBetween == true)
        let report = CheckReport(file, path: "t")
        #expect(report.wireBetween == "auto")
        #expect(report.links[0].codec?.transform == .int8)
        // One byte for each value, and a scale of four for 256.
        let bytes = report.parameterCount + report.parameterCount / 64
        #expect(report.links[0].bytesPerRound == bytes)
        #expect(report.text.contains("measured rates change it"))
        let slow = CheckReport(
            try ClusterFile.read(
                yaml: yaml.replacing("200 Mbit/s", with: "20 Mbit/s"), file: "t"), path: "t")
        #expect(slow.links[0].bytesPerRound < report.links[0].bytesPerRound)
        let issues = Sample.issues(
            yaml.replacing("outer: diloco, sync_every: 60", with: "outer: every-step"))
        #expect(issues.map(\.keyPath) == ["wire.between"])
        #expect(issues.first?.problem.contains("there is none") == true)
    }
}
