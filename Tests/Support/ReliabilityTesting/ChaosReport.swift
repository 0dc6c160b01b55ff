import AgentModel
public import AgentTestSupport
import Threads

/// What a chaos run came to.
public struct ChaosReport: Sendable {
    /// One promise, and everything that broke it.
    public struct Check: Sendable {
        public var name: String
        public var violations: [String]

        init(_ name: String, _ violations: [String]) {
            self.name = name
            self.violations = violations
        }
    }

    public var seed: UInt64
    public var kills = 0
    /// How often the agent ended by itself, by how.
    public var endings: [SpawnedProcess.Ending: Int] = [:]
    public var oneOffs = 0
    public var schedules = 0
    public var calls = 0
    /// Results in the backend, by status.
    public var statuses: [String: Int] = [:]
    /// What people wanted of runs, by what it was.
    public var wishes: [String: Int] = [:]
    /// Requests, by what the proxy did with them.
    public var faults: [String: Int] = [:]
    public var checks: [Check] = []
    public var duration = Duration.zero
    /// Where the logs and databases are, if they were kept.
    public var folder: String?

    public var isGood: Bool { checks.allSatisfy(\.violations.isEmpty) }

    /// The first violations of each promise.
    public var violations: [String] {
        checks.flatMap { check in check.violations.prefix(20).map { "\(check.name): \($0)" } }
    }

    /// For people.
    public var table: String {
        var rows: [(String, String)] = [
            ("kills (SIGKILL)", "\(kills)"),
            (
                "ended by a plugin",
                Self.list(endings.map { ("\($0.key)", $0.value) })
            ),
            ("one-off tasks", "\(oneOffs)"), ("schedules", "\(schedules)"), ("calls of plugins", "\(calls)"),
            ("results in the backend", "\(statuses.values.reduce(0, +)): \(Self.list(statuses.map { ($0, $1) }))"),
            ("wishes of people", Self.list(wishes.map { ($0, $1) })),
            ("requests", "\(faults.values.reduce(0, +)): \(Self.list(faults.map { ($0, $1) }))"),
        ]
        rows += checks.map { ($0.name, "\($0.violations.count)") }
        rows.append(("minutes", "\((duration.seconds / 6).rounded() / 10)"))
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { name, value in
            name + String(repeating: " ", count: width - name.count) + "  " + value
        }.joined(separator: "\n")
    }

    private static func list(_ counts: [(String, Int)]) -> String {
        counts.isEmpty
            ? "0" : counts.sorted { ($1.1, $0.0) < ($0.1, $1.0) }.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
    }
}
