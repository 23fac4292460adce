/// Table 4 of Streaming DiLoCo (arXiv 2501.18512) as printed, with the model of each row.
package enum StreamingTable {
    /// Bits per parameter that make the model agree best with the table. Fitted; the paper says 16
    /// (bf16) and does not explain the difference.
    package static let fittedBits = 13.4
    package static let nominalBits = 16.0
    package static let utilisations = [0.5, 0.8, 0.9, 0.95, 0.99]

    package struct Row: Sendable {
        package let size: String
        package let method: String
        /// Gigabits per second at each of ``utilisations``.
        package let printed: [Double]
        package let parameters: Double
        package let layers: Int
        package let stepTime: Double
        package let kind: BandwidthModel.Method
        package let overlap: Int
        /// 4-bit values instead of 16: a quarter of the bits.
        package let isFourBit: Bool

        /// H = 100; fragments of 3 layers.
        package func model(bits: Double) -> BandwidthModel {
            BandwidthModel(
                parameters: parameters, layers: layers, stepTime: stepTime, method: kind,
                syncEvery: kind == .dataParallel ? 1 : 100,
                fragmentLayers: kind == .streaming ? 3 : nil, overlap: overlap,
                bits: isFourBit ? bits / 4 : bits)
        }
    }

    package static let rows: [Row] =
        block(
            "1B", 1e9, 24, 0.1,
            [
                [86.8, 152.6, 184.2, 222.3, 569.0], [1.4, 6.2, 13.3, 23.3, 86.8],
                [1.4, 5.2, 9.1, 16.0, 28.1], [1.4, 4.3, 6.2, 9.1, 11.0],
                [0.4, 0.9, 1.7, 2.0, 3.0],
            ])
        + block(
            "10B", 10e9, 48, 0.8,
            [
                [104.8, 222.3, 222.3, 268.3, 471.5], [1.7, 7.5, 16.0, 33.9, 104.8],
                [1.7, 5.2, 9.1, 13.3, 19.3], [1.7, 3.6, 5.2, 6.2, 7.5],
                [0.4, 0.9, 1.4, 1.4, 1.7],
            ])
        + block(
            "100B", 100e9, 108, 4.9,
            [
                [184.2, 323.8, 390.7, 390.7, 471.5], [3.0, 11.0, 23.3, 49.4, 184.2],
                [2.4, 6.2, 9.1, 11.0, 19.3], [1.7, 3.6, 4.3, 5.2, 5.2],
                [0.5, 0.9, 1.1, 1.1, 1.4],
            ])

    private static func block(
        _ size: String, _ parameters: Double, _ layers: Int, _ stepTime: Double,
        _ figures: [[Double]]
    ) -> [Row] {
        let methods: [(String, BandwidthModel.Method, Int, Bool)] = [
            ("Data-Parallel", .dataParallel, 0, false), ("DiLoCo", .diloco, 0, false),
            ("Streaming", .streaming, 0, false), ("Streaming+overlap", .streaming, 1, false),
            ("Streaming+overlap FP4", .streaming, 1, true),
        ]
        return zip(methods, figures).map { method, printed in
            Row(
                size: size, method: method.0, printed: printed, parameters: parameters,
                layers: layers, stepTime: stepTime, kind: method.1, overlap: method.2,
                isFourBit: method.3)
        }
    }

    /// Grid steps between the model's answer and the printed figure, row by row.
    package static func distances(bits: Double) -> [[Int]] {
        rows.map { row in
            zip(utilisations, row.printed).map { target, printed in
                guard
                    let answer = BandwidthGrid.paper.gigabitsPerSecond(
                        row.model(bits: bits), utilisation: target)
                else { return Int.max }
                return BandwidthGrid.index(nearest: answer) - BandwidthGrid.index(nearest: printed)
            }
        }
    }
}
