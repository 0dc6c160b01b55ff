import AgentModel
import Diagnostics
import Foundation
import Hummingbird

/// What the administration API reads from its requests.
extension AdministrationRoutes {
    // A script of the largest size, every byte of it escaped, and room for the rest.
    static let bodyLimit = 6 * BackendService.maximumScriptSize + (1 << 20)

    func agentChange(in request: Request) async throws -> AgentChange {
        let fields = try await RequestFields(request, known: ["name", "team_id"], limit: Self.bodyLimit)
        return AgentChange(name: try fields.change("name"), teamID: try fields.change("team_id"))
    }

    func newPlugin(in request: Request) async throws -> NewPlugin {
        let fields = try await RequestFields(
            request,
            known: [
                "id", "name", "version", "description", "script", "hash", "commands", "signature", "key_id", "sandbox",
            ],
            limit: Self.bodyLimit)
        return NewPlugin(
            id: try fields.optionalString("id"), name: try fields.string("name"), version: try version(in: fields),
            description: try fields.optionalString("description"), script: try fields.string("script"),
            hash: try fields.optionalString("hash"), commands: try commands(in: fields),
            signature: try fields.optionalString("signature"), keyID: try fields.optionalString("key_id"),
            sandbox: fields.value("sandbox").flatMap { $0 == .null ? nil : SandboxRequest($0) })
    }

    /// - Returns: The task, and whether somebody wants to see what its run prints.
    func newTask(in request: Request) async throws -> (NewTask, isWatched: Bool) {
        let fields = try await RequestFields(
            request, known: ["id", "agent", "agent_id", "command", "cron", "arguments", "enabled", "watch"],
            limit: Self.bodyLimit)
        var (agentID, command) = (try fields.optionalString("agent_id"), try fields.string("command"))
        // As a person calls them.
        if let agent = try fields.optionalString("agent") {
            guard agentID == nil else {
                throw ReferenceBackendError.invalidField("agent", problem: "give it or \"agent_id\"")
            }
            let found = try await service.agentID(called: agent)
            (agentID, command) = (found, try await service.command(called: command, ofAgent: found))
        }
        guard let agentID else { throw ReferenceBackendError.invalidField("agent_id", problem: "it is missing") }
        let task = NewTask(
            id: try fields.optionalString("id"), agentID: agentID,
            command: command, cron: try fields.optionalString("cron"),
            arguments: arguments(in: fields) ?? "{}", isEnabled: try fields.bool("enabled") ?? true)
        return (task, try fields.bool("watch") ?? false)
    }

    func cancelRequest(in request: Request) async throws -> (by: String?, reason: String?) {
        let fields = try await RequestFields(request, known: ["by", "reason"], limit: 64 << 10)
        return (try Self.note("by", in: fields), try Self.note("reason", in: fields))
    }

    /// A short text that agents log and put into results.
    private static func note(_ name: String, in fields: RequestFields) throws(ReferenceBackendError) -> String? {
        guard let text = try fields.optionalString(name), !text.isEmpty else { return nil }
        guard text.utf8.count <= 200 else { throw .invalidField(name, problem: "it is longer than 200 bytes") }
        return text.withoutControlCharacters
    }

    /// What a follower has, and how long it waits for more.
    func followRequest(
        in request: Request
    ) throws -> (offsets: [OutputChunk.Stream: Int], state: RunView.State?, limit: Duration) {
        try RequestFields.refuseUnknown(
            request.uri.queryParameters.map { String($0.key) }, known: ["stdout", "stderr", "state", "wait"])
        var offsets: [OutputChunk.Stream: Int] = [:]
        for stream in OutputChunk.Stream.allCases {
            guard let text = request.query(stream.rawValue) else { continue }
            guard let offset = Int(text), offset >= 0 else {
                throw ReferenceBackendError.invalidField(stream.rawValue, problem: "it is not a number of bytes")
            }
            offsets[stream] = offset
        }
        var state: RunView.State?
        if let text = request.query("state") {
            state = RunView.State(rawValue: text)
            if state == nil {
                throw ReferenceBackendError.invalidField("state", problem: "it is waiting, running or ended")
            }
        }
        guard let wait = Double(request.query("wait") ?? "0"), (0...300).contains(wait) else {
            throw ReferenceBackendError.invalidField("wait", problem: "it is a number of seconds from 0 to 300")
        }
        return (offsets, state, .seconds(wait))
    }

    /// How long an agent may take to say where a run is in its code.
    func stackRequest(in request: Request) throws -> Duration {
        try RequestFields.refuseUnknown(request.uri.queryParameters.map { String($0.key) }, known: ["wait"])
        guard let wait = Double(request.query("wait") ?? "10"), (0...60).contains(wait) else {
            throw ReferenceBackendError.invalidField("wait", problem: "it is a number of seconds from 0 to 60")
        }
        return .seconds(wait)
    }

    func taskChange(in request: Request) async throws -> TaskChange {
        let fields = try await RequestFields(
            request, known: ["command", "cron", "arguments", "enabled"], limit: Self.bodyLimit)
        return TaskChange(
            command: fields.value("command") == nil ? .keep : .set(try fields.string("command")),
            cron: try fields.change("cron"), arguments: arguments(in: fields).map { .set($0) } ?? .keep,
            isEnabled: try fields.bool("enabled").map { .set($0) } ?? .keep)
    }

    func agentChoice(in request: Request) async throws -> AgentChoice {
        let fields = try await RequestFields(request, known: ["agent_id", "name"], limit: Self.bodyLimit)
        let name = try fields.optionalString("name")
        return try fields.optionalString("agent_id").map { .existing(id: $0, name: name) } ?? .new(name: name)
    }

    func runFilter(in request: Request) throws(ReferenceBackendError) -> RunFilter {
        var filter = RunFilter(
            agentID: request.query("agent"), taskID: request.query("task"), runID: request.query("run_id"))
        if let text = request.query("status") {
            guard let status = RunStatus.allCases.first(where: { $0.rawValue == text }) else {
                let known = RunStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw .invalidField("status", problem: "it is one of \(known)")
            }
            filter.status = status
        }
        return filter
    }

    /// Which runs a `DELETE /runs` is about. A time is needed, so that no slip deletes them all.
    func runDeletion(in request: Request) throws -> (RunFilter, receivedBefore: Date) {
        try RequestFields.refuseUnknown(
            request.uri.queryParameters.map { String($0.key) },
            known: ["before", "agent", "task", "status", "run_id"])
        guard let text = request.query("before"), let time = RFC3339.date(from: text) else {
            throw ReferenceBackendError.invalidField(
                "before", problem: "it is a time such as 2026-11-27T00:00:00Z: runs that came in before it are deleted")
        }
        return (try runFilter(in: request), time)
    }

    private func version(in fields: RequestFields) throws(ReferenceBackendError) -> PluginVersion? {
        switch fields.value("version") {
        case nil, .null: nil
        case .integer(let number): .integer(number)
        case .string(let text): .string(text)
        default: throw .invalidField("version", problem: "it is an integer, a string or null")
        }
    }

    /// The arguments as text, whether they came as text or as an object; nil where they are missing.
    private func arguments(in fields: RequestFields) -> String? {
        switch fields.value("arguments") {
        case nil: nil
        case .null: "{}"
        case .string(let text): text
        case .some(let value): value.text
        }
    }

    /// Either the short form, name → function, or the contract's, name → `{id, name, function}`.
    private func commands(in fields: RequestFields) throws(ReferenceBackendError) -> [String: CommandDocument] {
        guard case .object(let map) = fields.value("commands") else {
            throw .invalidField("commands", problem: "it is an object: {\"greet\": \"greet\"}")
        }
        var commands: [String: CommandDocument] = [:]
        for (name, value) in map {
            switch value {
            case .string(let function):
                commands[name] = CommandDocument(id: nil, name: nil, function: function)
            case .object(let command):
                guard case .string(let function) = command["function"] else {
                    throw .invalidField("commands.\(name).function", problem: "it is missing or not a string")
                }
                var id: String?
                if case .string(let text) = command["id"] { id = text }
                commands[name] = CommandDocument(id: id, name: nil, function: function)
            default:
                throw .invalidField("commands.\(name)", problem: "it is neither a function's name nor an object")
            }
        }
        return commands
    }
}
