/// The budgets of one step while it is used up: each block of each pass may use its part and what those
/// before it have left.
package struct CrossingAllowance: Equatable, Sendable {
    private let budgets: [Int]
    private let parts: Int
    private var used: [Int]

    /// - Parameter parts: blocks times passes of the step.
    package init(budgets: [Int], parts: Int) {
        precondition(parts > 0, "no parts")
        self.budgets = budgets
        self.parts = parts
        used = budgets.map { _ in 0 }
    }

    /// Lets one token of part `part`, from 0, go to all of `targets`, or to none.
    package mutating func take(_ targets: [Int], part: Int) -> Bool {
        for region in targets where used[region] >= budgets[region] * (part + 1) / parts {
            return false
        }
        for region in targets { used[region] += 1 }
        return true
    }
}
