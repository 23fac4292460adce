/// A mean of few repetitions with its 95 % confidence interval.
package struct MeanInterval: Codable, Equatable, Sendable {
    package var mean: Double
    /// The interval is mean +- this; nil for a single value.
    package var halfWidth: Double?
    package var values: [Double]

    /// Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
    private static let student = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    ]

    /// Nil without values.
    package init?(_ values: [Double]) {
        guard !values.isEmpty else { return nil }
        self.values = values
        let mean = values.reduce(0, +) / Double(values.count)
        self.mean = mean
        guard values.count > 1 else { return }
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let deviation = (squares / Double(values.count - 1)).squareRoot()
        let freedom = values.count - 1
        let quantile = freedom <= Self.student.count ? Self.student[freedom - 1] : 1.96
        halfWidth = quantile * deviation / Double(values.count).squareRoot()
    }
}
