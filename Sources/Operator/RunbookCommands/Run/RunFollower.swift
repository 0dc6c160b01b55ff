import AgentModel
import BackendClient
import Diagnostics
import Foundation

/// Follows the run of a task to its end: what it prints while it comes, and its result.
struct RunFollower {
    let client: AdministrationClient
    let taskID: String

    /// Creates a one-off task, once however often the request has to be sent: under an id that is made here.
    /// - Parameters:
    ///   - agent: An agent's id or name.
    ///   - isWatched: Whether its run is followed: the agent tells what it prints from the beginning on.
    static func create(
        _ command: String, _ arguments: String, agent: String, isWatched: Bool, _ client: AdministrationClient
    ) async throws -> TaskRow {
        let id = UUID().uuidString.lowercased()
        var attempts = 0
        while true {
            do {
                let data = try await client.post(
                    "tasks",
                    [
                        "id": .string(id), "agent": .string(agent), "command": .string(command),
                        "arguments": .string(arguments), "watch": .bool(isWatched),
                    ])
                return try client.value(data)
            } catch ClientError.refused("task.already_exists", _) {
                // It was taken, and its answer lost.
                return try client.value(try await client.get("tasks/\(AdministrationClient.segment(id))"))
            } catch HTTPClientError.connectionLost where attempts < 2 {
                attempts += 1
            }
        }
    }

    /// - Parameters:
    ///   - limit: How long to wait.
    ///   - show: Called with each piece of output, each byte once.
    /// - Returns: Without a run where there was none in time.
    func follow(
        atMost limit: Duration, _ show: (OutputChunk) -> Void
    ) async throws -> RunViewDocument {
        let end = ContinuousClock.now + limit
        var offsets: [OutputChunk.Stream: Int] = [:]
        var state = "waiting"
        var failures = 0
        while true {
            let left = ContinuousClock.now.duration(to: end)
            let wait = max(.zero, min(left, Self.longestWait))
            let view: RunViewDocument
            do {
                view = try await look(offsets, state, wait)
                failures = 0
            } catch  where Self.isPassing(error) {
                // A backend that is restarted, or a connection that was lost: the run goes on without us.
                failures += 1
                guard left > .zero, failures < Self.patience else { throw error }
                try await Task.sleep(for: .milliseconds(200 * failures))
                continue
            }
            state = view.state
            for chunk in view.chunks {
                guard let new = chunk.dropping(before: offsets[chunk.stream] ?? 0) else { continue }
                offsets[chunk.stream] = new.end
                show(new)
            }
            if let run = view.run {
                // What came last is in the result alone.
                for (stream, text) in [(OutputChunk.Stream.stdout, run.stdout), (.stderr, run.stderr)] {
                    let whole = OutputChunk(stream: stream, offset: 0, bytes: Data((text ?? "").utf8))
                    if let rest = whole.dropping(before: offsets[stream] ?? 0) { show(rest) }
                }
                return view
            }
            if left <= .zero { return view }
        }
    }

    private static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case is HTTPClientError: true
        case ClientError.notABackend, ClientError.refused("backend.busy", _): true
        default: false
        }
    }

    private static let longestWait = Duration.seconds(25)
    private static let patience = 30

    private func look(
        _ offsets: [OutputChunk.Stream: Int], _ state: String, _ wait: Duration
    ) async throws -> RunViewDocument {
        var query = ["state": state, "wait": String(format: "%.3f", wait / .seconds(1))]
        for (stream, offset) in offsets { query[stream.rawValue] = "\(offset)" }
        let data = try await client.get(
            "tasks/\(AdministrationClient.segment(taskID))/run", query, limit: wait + .seconds(30))
        return try client.value(data)
    }
}
