import Foundation

/// How long to wait before the next attempt: doubling up to 5 min, with full jitter, so that a thousand agents don't come
/// back at the same moment.
enum Backoff {
    /// Of what asks whether the backend is there again, in seconds.
    static let first: Double = 1
    /// Of one result, in seconds: its failure says nothing of the backend, so that it is tried again soon.
    static let firstOfOneResult: Double = 0.1
    static let longest: Double = 300

    /// - Parameters:
    ///   - failures: how many attempts have failed, at least 1.
    ///   - first: the longest pause after the first failure, in seconds.
    static func delay(
        afterFailures failures: Int, first: Double = first, using random: inout some RandomNumberGenerator
    ) -> TimeInterval {
        let ceiling = min(longest, first * pow(2, Double(min(max(failures, 1), 32) - 1)))
        return Double.random(in: 0...ceiling, using: &random)
    }

    /// The same where the backend may have said when to come back (`Retry-After`, RFC 9110, section 10.2.3).
    ///
    /// - Parameter asked: seconds. Some are added, or all agents would come back in the same one. None at all, or a
    ///   time that has passed, is no leave to come at once, again and again.
    static func delay(
        afterFailures failures: Int, first: Double = first, notBefore asked: TimeInterval?,
        using random: inout some RandomNumberGenerator
    ) -> TimeInterval {
        guard let asked, asked >= Self.first else {
            return delay(afterFailures: failures, first: first, using: &random)
        }
        return asked + Double.random(in: 0...min(asked, 30) / 5, using: &random)
    }
}
