import Foundation

/// How long to wait before the next attempt: doubling from 1 s to 5 min, with full jitter, so that a thousand agents
/// don't come back at the same moment.
enum Backoff {
    static let first: Double = 1
    static let longest: Double = 300

    /// - Parameter failures: how many attempts have failed, at least 1.
    static func delay(afterFailures failures: Int, using random: inout some RandomNumberGenerator) -> TimeInterval {
        let ceiling = min(longest, first * pow(2, Double(min(max(failures, 1), 32) - 1)))
        return Double.random(in: 0...ceiling, using: &random)
    }
}
