import AgentModel
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
                let response = try channel.receive { kind, reader throws(WireError) -> PluginHostResponse in
                    guard kind == SandboxMessage.request else { throw .malformed }
                    return answer(method: try reader.text(), path: try reader.text(), body: try reader.optionalText())
                }
                var writer = WireWriter(kind: SandboxMessage.response)
                writer.response(response)
                guard let message = writer.finished() else { return }
                try channel.send(message)
            }
        } catch {
            // It has ended, or no one there keeps to what was agreed.
        }
    }

    /// The plugin is the one whose process asks, whatever it says.
    private func answer(method: String, path: String, body: String?) -> PluginHostResponse {
        guard access.allows(method: method, path: path) else { return .notAllowed(access) }
        return host.request(plugin: plugin.rawValue, method: method, path: path, body: body)
    }
}

extension APIAccess {
    func allows(method: String, path: String) -> Bool {
        switch self {
        case .none: false
        case .full: true
        case .results:
            // One segment, so that nothing is reached by way of it.
            method == "POST" && path.wholeMatch(of: /\/api\/agent\/task\/(?!\.{1,2}$)[A-Za-z0-9._~%-]+/) != nil
                && !path.lowercased().contains("%2e") && !path.lowercased().contains("%2f")
        }
    }
}

extension PluginHostResponse {
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
