internal import ClusterModel

/// The map of regions.
enum ReportPlaces {
    static func section(_ summary: RunSummary) -> Markup {
        HTMLReport.section(
            summary.regions.count == 1 ? "Region" : "Regions and links", id: "places",
            """
            \(RegionDiagram(summary: summary).markup)
            \(regions(summary))
            """)
    }

    private static func regions(_ summary: RunSummary) -> Markup {
        guard summary.regions.count > 1 else { return .nothing }
        return HTMLReport.table(
            [
                "region", "workers", "tokens/s", "compute utilisation", "training loss",
                "validation loss",
            ],
            summary.regions.map { region in
                [
                    region.name, "\(region.workers)",
                    region.tokensPerSecond.map { Figures.grouped($0) } ?? Figures.absent,
                    HTMLReport.percent(region.computeUtilisation),
                    HTMLReport.loss(region.finalTrainingLoss),
                    HTMLReport.loss(region.finalValidationLoss),
                ]
            })
    }
}

/// Use of the links over time, totals per direction, and what the small link stands for.
enum ReportLinks {
    static func section(_ summary: RunSummary) -> Markup {
        let outer = summary.links.filter { !$0.isInsideRegion }
        guard !outer.isEmpty else { return .nothing }
        let fromLanes = outer.contains { $0.seriesSource == "lanes" }
        let counter = fromLanes ? "the lanes' counters" : "the relay's counter"
        return HTMLReport.section(
            "The links", id: "links",
            """
            \(charts(summary, outer))
            \(table(outer))
            <p class="note">Charts show means over \(Figures.duration(stretch(summary))) of \
            \(counter), so short bursts look lower and longer than they were. Relay bytes crossed \
            the emulated link, with framing, encryption and control traffic. Lane bytes are the \
            frames workers handed over, before encryption. Use is the mean over the training time \
            of the relay's count, or of the lanes' where there is no relay.</p>
            \(relayed(summary))
            \(classes(summary))
            <h3>What this link stands for</h3>
            \(similarity(summary))
            """)
    }

    /// One chart per direction on a common scale: lines of both directions would cover each other.
    private static func charts(_ summary: RunSummary, _ links: [RunSummary.Link]) -> Markup {
        let shown = links.prefix(chartLimit)
        let rates = shown.map {
            readings(
                $0, since: summary.pool.trainingStartSeconds, stretch: stretch(summary))
        }
        let peak = rates.flatMap { $0 }.map(\.y).max() ?? 0
        let limit = shown.compactMap(\.rateBitsPerSecond).max().map { Double($0) }
        // A limit far above the traffic would flatten it; then it is only named.
        let isNear = limit.map { $0 <= 8 * peak } ?? false
        let top = isNear ? max(peak, limit ?? 0) : peak
        let unit = AxisUnit.bitRate(top)
        let time = AxisUnit.time(summary.pool.trainingSeconds)
        let charts = zip(shown, rates).enumerated().map { index, pair -> Markup in
            let (link, points) = pair
            let direction = "\(link.from) \u{2192} \(link.to)"
            let rate = link.rateBitsPerSecond.map { Double($0) }
            let name = rate.map { "rate \(Figures.bitRate($0))" } ?? "rate not limited"
            return LineChart(
                title: "\(direction)\(isNear ? "" : ", \(name)")",
                description: "\(direction): traffic over time, at most "
                    + "\(Figures.bitRate(points.map(\.y).max() ?? 0)) in any stretch",
                xLabel: "\(time.name) since the first step", yLabel: unit.name,
                series: [
                    .init(
                        name: direction, colour: "r\(index % 8)",
                        points: points.map { ($0.x / time.size, $0.y / unit.size) }, mark: .steps)
                ], limit: isNear ? rate.map { ($0 / unit.size, name) } : nil, yFromZero: true,
                yAtLeast: top / unit.size
            ).markup
        }
        return "<div class=\"pair\">\(charts)</div>"
    }

    /// Directions drawn; the table has all of them.
    private static let chartLimit = 6

    /// Mean bits per second over equal stretches of time. Readings of several workers come at
    /// unlike times, some of them a moment apart, so differences of neighbours say nothing.
    private static func readings(
        _ link: RunSummary.Link, since start: Double, stretch: Double
    ) -> [(x: Double, y: Double)] {
        guard let last = link.series.last, last.seconds > start else { return [] }
        let stretches = ((last.seconds - start) / stretch).rounded(.up)
        let count = Int(min(stretches, Double(RunSummary.pointLimit)))
        var points: [(x: Double, y: Double)] = [(0, 0)]
        var index = 0
        var before = link.series.last { $0.seconds <= start }?.bytes ?? 0
        for number in 1...count {
            let end = start + Double(number) * stretch
            while index < link.series.count, link.series[index].seconds <= end { index += 1 }
            let bytes = index > 0 ? max(before, link.series[index - 1].bytes) : before
            points.append((Double(number) * stretch, Double(bytes - before) * 8 / stretch))
            before = bytes
        }
        return points
    }

    /// Readings come about once a second; more stretches than this cannot be told apart.
    private static func stretch(_ summary: RunSummary) -> Double {
        max(2, (summary.pool.trainingSeconds / 120).rounded(.up))
    }

    private static func table(_ links: [RunSummary.Link]) -> Markup {
        HTMLReport.table(
            [
                "direction", "rate", "RTT", "lanes per pair", "relay bytes", "lane bytes", "use",
                "bits per value", "resent frames", "longest queue",
            ],
            links.map { link in
                [
                    "\(link.from) \u{2192} \(link.to)",
                    link.rateBitsPerSecond.map { Figures.bitRate(Double($0)) } ?? "not limited",
                    link.roundTripSeconds.map(Figures.duration) ?? Figures.absent,
                    link.lanesPerPair.map { lanes in
                        "\(lanes)" + (link.lanesBecause.map { " (\($0))" } ?? "")
                    } ?? Figures.absent,
                    link.relayBytes.map { Figures.bytes(Double($0)) } ?? Figures.absent,
                    Figures.bytes(Double(link.laneBytes)), HTMLReport.percent(link.meanUse),
                    link.bitsPerValue.map(Figures.significant) ?? Figures.absent,
                    Figures.grouped(link.resentFrames),
                    link.peakQueueBytes.map { Figures.bytes(Double($0)) } ?? Figures.absent,
                ]
            })
    }

    private static func classes(_ summary: RunSummary) -> Markup {
        guard !summary.tensorClasses.isEmpty else { return "" }
        let table = HTMLReport.table(
            ["tensors", "values", "bits per value", "bytes"],
            summary.tensorClasses.map {
                [
                    $0.name, Figures.grouped(Double($0.values)),
                    Figures.significant($0.bitsPerValue),
                    Figures.bytes(Double($0.values) * $0.bitsPerValue / 8),
                ]
            })
        return """
            <h3>What contributions took</h3>
            \(table)
            <p class="note">Workers' contributions to rounds between regions, all rounds. A chunk that \
            covers tensors of several classes counts for each by its share.</p>
            """
    }

    private static func relayed(_ summary: RunSummary) -> Markup {
        guard !summary.relayed.isEmpty else { return "" }
        let table = HTMLReport.table(
            ["passed on", "frames", "bytes"],
            summary.relayed.map {
                [$0.path, Figures.grouped($0.frames), Figures.bytes(Double($0.bytes))]
            })
        return """
            <h3>Workers without a lane to each other</h3>
            \(table)
            <p class="note">Neither of the two could be dialled by the other, so a third one passed their \
            frames on. The bytes cross the relaying worker's links twice, in and out, and are in their \
            figures too.</p>
            """
    }

    private static func similarity(_ summary: RunSummary) -> Markup {
        func row(_ term: String, _ here: Double?, _ full: Double?) -> [String] {
            [
                term, here.map(Figures.significant) ?? Figures.absent,
                full.map(Figures.significant) ?? Figures.absent,
            ]
        }
        let ratios = HTMLReport.table(
            ["ratio", "this run", "full scale"],
            [
                row(
                    "bytes per round / (rate x time between rounds)",
                    summary.similarity.linkFill, summary.fullScaleSimilarity.linkFill),
                row(
                    "round trip / step time", summary.similarity.roundTripPerStep,
                    summary.fullScaleSimilarity.roundTripPerStep),
            ])
        return """
            \(ratios)
            <p class="note">A small run stands for a large one where both ratios agree. Full \
            scale: \(SimilarityRatios.FullScale.text). \(summary.similarity.linkSentence) \
            \(summary.similarity.delaySentence)</p>
            """
    }
}
