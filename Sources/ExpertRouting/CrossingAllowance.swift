/// The budgets of one step while it is used up: each block of each pass may use its part and what those
/// before it have left (Protocols/longhaul-1.md, section 7.10).
package struct CrossingAllowance: Equatable, Sendable {
    private let budgets: [Int]
    private let parts: Int
    /// By region. Whole numbers, unless a token stands for others.
    package private(set) var used: [Double]

    /// - Parameters:
    ///   - budgets: by region, tokens that may go there in the step.
    ///   - parts: blocks times passes of the step.
    package init(budgets: [Int], parts: Int) {
        precondition(parts > 0, "no parts")
        self.budgets = budgets
        self.parts = parts
        used = budgets.map { _ in 0 }
    }

    /// Lets a token of part `part`, from 0, go to all of `targets`, or to none.
    ///
    /// - Parameter count: of tokens that it stands for.
    package mutating func take(_ targets: [Int], part: Int, count: Double = 1) -> Bool {
        for region in targets
        where used[region] + count > Double(budgets[region] * (part + 1) / parts) {
            return false
        }
        for region in targets { used[region] += count }
        return true
    }
}
