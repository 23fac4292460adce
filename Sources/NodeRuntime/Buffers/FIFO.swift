/// A first-in, first-out queue over an array whose consumed front is reclaimed in bulk.
struct FIFO<Element> {
    private var items: [Element] = []
    private var head = 0

    init() {}

    var count: Int { items.count - head }
    var isEmpty: Bool { head == items.count }
    var first: Element? { isEmpty ? nil : items[head] }
    var last: Element? { isEmpty ? nil : items[items.count - 1] }

    mutating func append(_ element: Element) { items.append(element) }

    /// - Precondition: not empty.
    mutating func removeFirst() {
        precondition(!isEmpty, "an empty queue has no first element")
        head += 1
        // Amortised: at least half of the array is reclaimed for every element moved.
        if head == items.count {
            items.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
    }
}
