import Foundation

/// What failed of a run on many hosts, for `--retry-failed`: `~/.local/state/runbook/ID.json`.
struct Batch: Codable {
    struct Host: Codable {
        var id: String
        var name: String?
    }

    var command: String
    var arguments: String
    private var failed: [Host]

    init(command: String, arguments: String, hosts: [AgentRow]) {
        self.command = command
        self.arguments = arguments
        failed = hosts.map { Host(id: $0.id, name: $0.name) }
    }

    var hosts: [AgentRow] {
        failed.map { AgentRow(id: $0.id, name: $0.name, teamID: nil, plugins: [], lastSeenAt: nil) }
    }

    /// Follows the XDG Base Directory Specification.
    private static func folder() -> String {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["HOME"] ?? NSHomeDirectory()
        return (environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? home + "/.local/state")
            + "/runbook"
    }

    /// - Throws: `ClientError.invalidFile`.
    static func load(_ id: String) throws(ClientError) -> Batch {
        let path = "\(folder())/\(id).json"
        guard id.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber) }),
            let data = FileManager.default.contents(atPath: path),
            let batch = try? JSONDecoder().decode(Batch.self, from: data)
        else {
            throw .invalidFile(path: path, problem: "no run of that id failed here, or it was removed")
        }
        return batch
    }

    /// - Returns: The id to load it by.
    func save() throws -> String {
        let folder = Self.folder()
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let id = String(UInt32.random(in: 0...UInt32.max), radix: 36)
        let path = "\(folder)/\(id).json"
        // Arguments may be secret.
        guard
            FileManager.default.createFile(
                atPath: path, contents: try JSONEncoder().encode(self), attributes: [.posixPermissions: 0o600])
        else { throw ClientError.storage(path: path, problem: "it can't be written") }
        return id
    }
}
