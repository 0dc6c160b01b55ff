import Foundation

/// What did not come about in time.
public struct NotInTime: Error, CustomStringConvertible {
    public let description: String
}

/// Waits for what another process or thread does at a time of its own: looks every 5 ms.
///
/// - Parameter what: for the error, such as `the task's result`.
/// - Throws: ``NotInTime``, `CancellationError`, and what the condition throws.
public func eventually(
    _ what: String, within limit: Duration = .seconds(300), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw NotInTime(description: "\(what) did not come in \(limit)") }
        try await Task.sleep(for: .milliseconds(5))
    }
}
