import Foundation
import Synchronization

/// Counts wrong entries of each network or session, so that nobody can try codes one after the other (RFC 8628, section 5.1).
///
/// An attempt counts from when it begins, and is taken back where it was right: otherwise many at the same time would
/// all pass before the first is counted.
final class AttemptLimiter: Sendable {
    private let limit: Int
    private let window: TimeInterval
    private let maximumNetworks: Int
    private let attempts = Mutex<[String: [Date]]>([:])

    /// - Parameters:
    ///   - limit: How many wrong entries a network has within the window.
    ///   - window: In seconds.
    ///   - maximumNetworks: How many are remembered; beyond that, the one that tried least recently is forgotten.
    init(limit: Int = 10, window: TimeInterval = 600, maximumNetworks: Int = 10_000) {
        self.limit = limit
        self.window = window
        self.maximumNetworks = maximumNetworks
    }

    /// - Throws: `ReferenceBackendError.tooManyAttempts`.
    func begin(_ network: String, at now: Date) throws(ReferenceBackendError) {
        let wait: TimeInterval? = attempts.withLock { attempts in
            var own = (attempts[network] ?? []).filter { (0..<window).contains(now.timeIntervalSince($0)) }
            if own.count >= limit, let first = own.first { return window - now.timeIntervalSince(first) }
            own.append(now)
            attempts[network] = own
            if attempts.count > maximumNetworks {
                let oldest = attempts.min { ($0.value.last ?? .distantPast) < ($1.value.last ?? .distantPast) }
                if let oldest { attempts[oldest.key] = nil }
            }
            return nil
        }
        if let wait { throw .tooManyAttempts(retryAfter: max(1, Int(wait.rounded(.up)))) }
    }

    /// Takes back the attempt that was begun at a time, because it was right.
    func succeed(_ network: String, begunAt time: Date) {
        attempts.withLock { attempts in
            guard let index = attempts[network]?.lastIndex(of: time) else { return }
            attempts[network]?.remove(at: index)
            if attempts[network]?.isEmpty == true { attempts[network] = nil }
        }
    }
}
