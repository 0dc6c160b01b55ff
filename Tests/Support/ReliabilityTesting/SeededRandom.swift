/// Random numbers that are the same again for the same seed (SplitMix64).
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// True so many times of 100.
    mutating func happens(percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    /// One of the values, each as often as its weight says.
    mutating func choice<Value>(of weighted: [(value: Value, weight: Int)]) -> Value {
        var left = Int.random(in: 0..<weighted.reduce(0) { $0 + $1.weight }, using: &self)
        for (value, weight) in weighted {
            if left < weight { return value }
            left -= weight
        }
        return weighted[weighted.count - 1].value
    }
}
