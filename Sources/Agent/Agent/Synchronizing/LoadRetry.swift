import Foundation
import PluginExecution

/// A script that could not be loaded, and when it is tried again.
struct LoadRetry: Sendable {
    let scriptHash: String
    private let time: Time

    private enum Time {
        /// A constructor may find then what is missing now.
        case atNextSynchronization
        case after(start: Date, pause: TimeInterval)
        /// It fails the same way again.
        case never
    }

    private static let firstPause: TimeInterval = 60
    private static let longestPause: TimeInterval = 3600

    init(_ error: PluginExecutionError, of scriptHash: String, after last: LoadRetry?, at now: Date) {
        self.scriptHash = scriptHash
        if error.isPermanent {
            time = .never
        } else if error.isTimeLimit {
            // Each try takes a worker for as long as the time limit.
            var pause = Self.firstPause
            if let last, last.scriptHash == scriptHash, case .after(_, let before) = last.time {
                pause = min(before * 2, Self.longestPause)
            }
            time = .after(start: now, pause: pause)
        } else {
            time = .atNextSynchronization
        }
    }

    /// Whether it is time to try again. A clock that was set back is no reason to wait for longer.
    func isPast(at now: Date) -> Bool {
        switch time {
        case .atNextSynchronization: true
        case .after(let start, let pause): !(0..<pause).contains(now.timeIntervalSince(start))
        case .never: false
        }
    }
}
