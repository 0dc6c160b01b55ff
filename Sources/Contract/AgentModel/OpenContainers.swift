/// The objects and arrays around a place, a bit for each.
struct OpenContainers {
    private var bits: [UInt64] = []
    private var depth = 0
    private(set) var deepest = 0

    /// Whether the innermost is an object; nil where there is none.
    var last: Bool? {
        guard depth > 0 else { return nil }
        return bits[(depth - 1) / 64] >> UInt64((depth - 1) % 64) & 1 == 1
    }

    mutating func push(isObject: Bool) {
        if depth / 64 == bits.count { bits.append(0) }
        let mask = UInt64(1) << UInt64(depth % 64)
        if isObject { bits[depth / 64] |= mask } else { bits[depth / 64] &= ~mask }
        depth += 1
        deepest = max(deepest, depth)
    }

    mutating func pop() { depth -= 1 }
}
