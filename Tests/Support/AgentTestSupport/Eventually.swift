/// What was waited for and did not come.
public struct DidNotHappen: Error, CustomStringConvertible {
    public let what: String
    public var description: String { "this did not happen: \(what)" }
}

/// Returns when a condition holds, which is looked at every 5 ms.
///
/// - Parameters:
///   - what: names the condition in the error.
///   - limit: generous, for a machine that does other things beside.
/// - Throws: ``DidNotHappen`` when the limit has passed or the task is cancelled; what the condition throws.
public func eventually(
    _ what: String, within limit: Duration = .seconds(300), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while try await !condition() {
        guard ContinuousClock.now < deadline, !Task.isCancelled else { throw DidNotHappen(what: what) }
        try? await Task.sleep(for: .milliseconds(5))
    }
}
