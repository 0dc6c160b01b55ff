/// How long something took or takes, for people.
enum TimeSpan {
    /// `0.1 ms`, `350 ms`, `12 s`, `3 min`, `5 h`, `2 d`: the largest unit that counts at least one, cut.
    static func text(_ seconds: Double) -> String {
        let tenths = Int(min(max(0, seconds), 1) * 10_000)
        return switch max(0, seconds) {
        case ..<0.01: "\(tenths / 10).\(tenths % 10) ms"
        case ..<1: "\(tenths / 10) ms"
        case ..<60: "\(Int(seconds)) s"
        case ..<3600: "\(Int(seconds / 60)) min"
        case ..<86_400: "\(Int(seconds / 3600)) h"
        default: "\(Int(min(seconds, 1e15) / 86_400)) d"
        }
    }
}
