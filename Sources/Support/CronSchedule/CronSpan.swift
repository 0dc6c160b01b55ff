/// A range or a step of an expression: `8-17`, `fri-mon`, `*/5`, `10/15`.
struct CronSpan {
    var low: Int
    /// Below `low` for a range that wraps round the end of the field.
    var high: Int
    var step: Int
    /// It was written without an upper end, so that `59/15` is minute 59 where `59-59/15` is a whole hour.
    var isOpen: Bool

    /// An explicit range of equal ends means the whole field, even where the value itself is below it (`0-0` in
    /// day-of-month). Otherwise the lower end has to be in the field; a wrapped upper end below it is empty.
    func isInside(_ range: ClosedRange<Int>) -> Bool {
        guard max(low, high) <= range.upperBound else { return false }
        return low >= range.lowerBound || (low == high && !isOpen)
    }

    /// The values in the order of the range.
    func values(in field: CronField) -> [Int] {
        let range = field.range
        if low == high {
            return isOpen ? [low] : Array(stride(from: range.lowerBound, through: range.upperBound, by: step))
        }
        if low < high { return Array(stride(from: low, through: high, by: step)) }
        let upper = Array(stride(from: low, through: range.upperBound, by: step))
        return upper + Array(stride(from: restart(after: upper[upper.count - 1], in: range), through: high, by: step))
    }

    /// Where a wrapped range goes on at the bottom of the field. croniter's way of counting the step across the end:
    /// it is not the step modulo the field's size.
    private func restart(after last: Int, in range: ClosedRange<Int>) -> Int {
        let left = range.upperBound - last
        let stepsOver = last - range.lowerBound + step > range.count
        return range.lowerBound + (stepsOver && left < step ? step - left : 0)
    }
}
