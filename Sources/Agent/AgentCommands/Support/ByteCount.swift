/// A size for people.
enum ByteCount {
    /// `512 B`, `3.4 KiB`, `1.0 GiB`.
    static func text(_ bytes: Int) -> String {
        guard bytes >= 1024 else { return "\(bytes) B" }
        var value = Double(bytes) / 1024
        var units = ["KiB", "MiB", "GiB", "TiB"][...]
        while value >= 1024, units.count > 1 {
            value /= 1024
            units.removeFirst()
        }
        let tenths = Int(value * 10)
        return "\(tenths / 10).\(tenths % 10) \(units[units.startIndex])"
    }
}
