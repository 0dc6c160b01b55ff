import AgentModel
import Foundation
import PythonEmbedding
import Sandbox

/// Answers what a sandboxed plugin asks of the backend, on a thread of its own, as far as its policy allows.
struct RequestService: Sendable {
    let plugin: PluginID
    let access: APIAccess
    let host: any PluginHost
    let channel: WireChannel

    /// Serves until the process has ended.
    func start() {
        // Without a thread its requests wait until its time limit.
        try? PythonInterpreter.startPlainThread(name: "sandbox-api") { serve() }
    }

    private func serve() {
        do throws(WireError) {
            while true {
                // Read as a whole before anything is asked of the backend.
                let request = try channel.receive { kind, reader throws(WireError) in
                    guard kind == SandboxMessage.request else { throw .malformed }
                    return (method: try reader.text(), path: try reader.text(), body: try reader.optionalText())
                }
                var writer = WireWriter(kind: SandboxMessage.response)
                writer.response(answer(method: request.method, path: request.path, body: request.body))
                guard let message = writer.finished() else { break }
                try channel.send(message)
            }
        } catch {
            // It has ended, or no one there keeps to what was agreed.
        }
        // Whoever waits for an answer there is to know that none comes.
        channel.shutDown()
    }

    /// The plugin is the one whose process asks, whatever it says.
    private func answer(method: String, path: String, body: String?) -> PluginHostResponse {
        guard access.allows(method: method, path: path) else { return .notAllowed(access) }
        if access == .results {
            guard let task = APIAccess.task(of: path), host.isTask(task, of: plugin.rawValue) else {
                return .notOwnTask
            }
        }
        return host.request(plugin: plugin.rawValue, method: method, path: path, body: body)
    }
}

extension APIAccess {
    func allows(method: String, path: String) -> Bool {
        switch self {
        case .none: false
        case .full: true
        case .results: method == "POST" && Self.isResult(path)
        }
    }

    private static let resultPrefix = "/api/agent/task/"

    /// The id of the task whose result goes to a path, without its percent-encoding; nil where that isn't text.
    static func task(of path: String) -> String? {
        String(decoding: path.utf8.dropFirst(resultPrefix.utf8.count), as: UTF8.self).removingPercentEncoding
    }

    /// One segment under the tasks, so that nothing else is reached by way of it. Bytes are compared: to a `Character`
    /// other letters can be equal.
    private static func isResult(_ path: String) -> Bool {
        guard path.utf8.starts(with: resultPrefix.utf8) else { return false }
        let segment = Array(path.utf8.dropFirst(resultPrefix.utf8.count))
        let isPlain = segment.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"),
                UInt8(ascii: "."), UInt8(ascii: "%"):
                true
            default: false
            }
        }
        let text = String(decoding: segment, as: UTF8.self).lowercased()
        return isPlain && !segment.isEmpty && ![".", ".."].contains(text)
            && !["%2e", "%2f", "%5c", "%00", "%25"].contains { text.contains($0) }
    }
}

extension PluginHostResponse {
    fileprivate static let notOwnTask = PluginHostResponse.failed(
        code: "api.not_allowed",
        message: "this plugin's sandbox has 'api = results', which allows results of tasks whose command is the "
            + "plugin's own and which are listed or under way; the operator can set 'api = full'")

    static func notAllowed(_ access: APIAccess) -> PluginHostResponse {
        .failed(
            code: "api.not_allowed",
            message: "this plugin's sandbox has 'api = \(access.rawValue)', which does not allow this request; the "
                + "operator can set 'api' in [sandbox] or in the plugin's section")
    }
}

extension WireWriter {
    fileprivate mutating func response(_ response: PluginHostResponse) {
        switch response {
        case .answered(let status, let body):
            integer(0)
            integer(UInt64(bitPattern: Int64(status)))
            blob(body)
        case .failed(let code, let message):
            integer(1)
            text(code)
            text(message)
        }
    }
}
