extension Sequence {
    /// The first `count` elements in order, in one pass that keeps no more than these.
    func min(_ count: Int, by isBefore: (Element, Element) -> Bool) -> [Element] {
        var smallest: [Element] = []
        for element in self {
            if smallest.count >= count {
                guard let last = smallest.last, isBefore(element, last) else { continue }
                smallest.removeLast()
            }
            let place = smallest.firstIndex { isBefore(element, $0) } ?? smallest.endIndex
            smallest.insert(element, at: place)
        }
        return smallest
    }
}
