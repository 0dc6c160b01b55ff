public import Agent
public import Foundation
import Synchronization

/// A clock that shows what the test says and moves when the test moves it.
public final class ManualClock: WallClock {
    private struct State {
        var now: Date
        var lastNumber = 0
        var sleepers: [Int: (time: Date, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    /// - Parameter text: RFC 3339, such as `2026-11-23T21:00:00Z`.
    public init(_ text: String) {
        state = Mutex(State(now: RFC3339Text.date(from: text)))
    }

    public var now: Date { state.withLock { $0.now } }

    public func sleep(until time: Date) async throws {
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (isDue, waiters) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
                    if state.now >= time || Task.isCancelled { return (true, []) }
                    state.sleepers[number] = (time, continuation)
                    defer { state.waiters = [] }
                    return (false, state.waiters)
                }
                if isDue { continuation.resume() }
                for waiter in waiters { waiter.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: number) }?.continuation
                .resume(throwing: CancellationError())
        }
    }

    /// Sets the clock, forward or back, and wakes whose time has come.
    public func set(_ time: Date) {
        let due = state.withLock { state in
            state.now = time
            let numbers = state.sleepers.filter { $0.value.time <= time }.map(\.key)
            return numbers.compactMap { state.sleepers.removeValue(forKey: $0)?.continuation }
        }
        for continuation in due { continuation.resume() }
    }

    /// Moves the clock by so many seconds.
    public func advance(by seconds: TimeInterval) { set(now.addingTimeInterval(seconds)) }

    /// Returns when somebody sleeps until a time to come.
    public func waitForSleeper() async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state -> Bool in
                if !state.sleepers.isEmpty { return true }
                state.waiters.append(continuation)
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}

private enum RFC3339Text {
    static func date(from text: String) -> Date {
        guard let date = try? Date(text, strategy: .iso8601) else {
            preconditionFailure("\(text) is not a time")
        }
        return date
    }
}
