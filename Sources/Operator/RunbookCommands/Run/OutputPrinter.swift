import AgentModel
import Diagnostics
import Foundation
import Glibc
import Threads

/// Shows what one run prints, and how it ended.
final class OutputPrinter: Sendable {
    private let isSilent: Bool
    /// What was shown of the run's standard output.
    private let shown = BlockingLock(Data())

    init(isSilent: Bool) { self.isSilent = isSilent }

    func show(_ chunk: OutputChunk) {
        guard !isSilent else { return }
        if chunk.stream == .stdout { shown.withLock { $0.append(chunk.bytes) } }
        Screen.write(chunk.bytes, on: chunk.stream == .stdout ? .standardOutput : .standardError)
    }

    /// The result on standard output, what went wrong on standard error.
    func showEnd(of run: RunRow) {
        let output = shown.withLock { $0 }
        if let error = run.error {
            if let traceback = error.traceback ?? run.pythonStack { Screen.writeError(traceback) }
            Screen.writeError("\(run.status ?? "failed"): \(error.sentence) [\(error.code)]")
        }
        // What a method that returns nothing has printed is its result, and was shown.
        guard let data = run.data, Data(data.utf8) != output else { return }
        if let last = output.last, last != UInt8(ascii: "\n") { Screen.write(Data("\n".utf8), on: .standardOutput) }
        Screen.write(Data((data.hasSuffix("\n") ? data : data + "\n").utf8), on: .standardOutput)
    }
}

/// Shows what becomes of a command on many hosts.
final class ManyPrinter: Sendable {
    enum Outcome: Sendable {
        case ended(RunRow, JSONValue)
        /// With the task's id.
        case late(String)
        case detached(String)
        case notCreated(code: String, message: String)

        enum Kind: Sendable {
            case succeeded, failed, late
        }

        var kind: Kind {
            switch self {
            case .ended(let run, _): run.isSucceeded ? .succeeded : .failed
            case .late: .late
            case .detached: .succeeded
            case .notCreated: .failed
            }
        }
    }

    private let isJSON: Bool
    private let follows: Bool
    /// The line that each host is in the middle of.
    private let lines = BlockingLock<[String: Data]>([:])

    init(isJSON: Bool, follows: Bool) {
        self.isJSON = isJSON
        self.follows = follows
    }

    func show(_ chunk: OutputChunk, of host: AgentRow) {
        guard follows else { return }
        let name = host.displayName.withoutControlCharacters
        let whole = lines.withLock { lines -> [Data] in
            var pieces = ((lines[host.id] ?? Data()) + chunk.bytes).split(
                separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false
            ).map { Data($0) }
            lines[host.id] = pieces.removeLast()
            return pieces
        }
        for line in whole { print("\(name) | \(String(decoding: line, as: UTF8.self).withoutControlCharacters)") }
        fflush(nil)
    }

    func show(_ outcome: Outcome, of host: AgentRow) {
        if isJSON {
            var fields: [String: JSONValue] = [
                "agent_id": .string(host.id), "name": host.name.map { .string($0) } ?? .null,
            ]
            switch outcome {
            case .ended(_, let raw): fields["run"] = raw
            case .late(let id), .detached(let id): fields["task_id"] = .string(id)
            case .notCreated(let code, let message):
                fields["error"] = ["code": .string(code), "message": .string(message)]
            }
            print(JSONValue.object(fields).text)
        } else {
            print("\(host.displayName.withoutControlCharacters): \(Self.sentence(of: outcome))")
        }
        fflush(nil)
    }

    private static func sentence(of outcome: Outcome) -> String {
        let text =
            switch outcome {
            case .ended(let run, _):
                run.error.map { "\(run.status ?? "failed"): \($0.sentence)" } ?? run.data ?? "no result"
            case .late(let id): "no result yet, the task is \(id)"
            case .detached(let id): id
            case .notCreated(let code, let message): "\(message) [\(code)]"
            }
        return text.withoutControlCharacters.trimmingCharacters(in: .newlines).replacing("\n", with: "\n    ")
    }

    func showSummary(_ outcomes: [Outcome]) {
        guard !isJSON else { return }
        let counts = [Outcome.Kind.succeeded: "succeeded", .failed: "failed", .late: "without a result"]
        let parts = [Outcome.Kind.succeeded, .failed, .late].compactMap { kind -> String? in
            let count = outcomes.filter { $0.kind == kind }.count
            return count == 0 ? nil : "\(count) \(counts[kind] ?? "")"
        }
        Screen.writeError("\(outcomes.count) hosts: \(parts.joined(separator: ", "))")
    }
}
