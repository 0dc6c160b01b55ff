import Foundation
import Testing

/// Asks a command until its answer is as wanted. For what another process does at a time of its own.
///
/// - Returns: that answer, or the last one, with an issue recorded, when a minute has passed.
@discardableResult
func poll(
    _ arguments: [String], in directory: String, until isWanted: ([[String: Any]]) -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
) async throws -> [[String: Any]] {
    let deadline = ContinuousClock.now.advanced(by: .seconds(60))
    while true {
        let output = try await AgentProcess.run(arguments + ["--json"], directory: directory)
        let lines = try output.jsonLines()
        // `status` exits with 1 where anything is wrong.
        if output.status == 0 || arguments.first == "status", isWanted(lines) { return lines }
        guard ContinuousClock.now < deadline else {
            Issue.record("\(arguments) still says \(output.stdout)\(output.stderr)", sourceLocation: sourceLocation)
            return lines
        }
    }
}

extension [String: Any] {
    /// What is at a dotted path.
    func at(_ path: String) -> Any? {
        path.split(separator: ".").reduce(self as Any?) { value, key in
            if let index = Int(key) {
                let list = value as? [Any]
                return list.flatMap { index < $0.count ? $0[index] : nil }
            }
            return (value as? [String: Any])?[String(key)]
        }
    }
}
