public import AgentModel
public import Diagnostics

/// Why a call of the backend gave nothing to work with.
public enum BackendError: CodedError {
    /// No answer at all; code and message are those of the transport.
    case transport(HTTPClientError)
    /// The credentials could not be had; code and message are those of their provider.
    case credentials(any CodedError)
    /// `401` or `403`.
    case unauthorized(url: String, status: Int)
    /// Another status than the contract names. `excerpt` is the beginning of the body, quoted and escaped;
    /// `retryAfter` is what a `Retry-After` field asks for.
    case status(url: String, status: Int, excerpt: String, retryAfter: Duration?)
    /// HTML or other text where JSON is needed.
    case notJSON(url: String, status: Int, contentType: String, excerpt: String)
    case invalidJSON(url: String, bytes: Int, problem: String)
    /// JSON without the envelope's `data`.
    case missingData(url: String)
    case invalidDocument(AgentModelError)
    case idMismatch(asked: String, received: String)
    case scriptTooLarge(plugin: String, bytes: Int, limit: Int)
    case tooManyTasks(limit: Int)
    case tooManyPlugins(limit: Int)
    case tooManyCommands(limit: Int)
    /// A path that a plugin asked for and that would leave `/api`.
    case invalidPath(String, problem: String)
    /// A task id that can't be a path segment.
    case invalidTaskID(String)

    public var code: String {
        switch self {
        case .transport(let error): error.code
        case .credentials(let error): error.code
        case .unauthorized: "backend.unauthorized"
        case .status: "backend.status"
        case .notJSON: "backend.not_json"
        case .invalidJSON: "backend.invalid_json"
        case .missingData: "backend.missing_data"
        case .invalidDocument(let error): error.code
        case .idMismatch: "plugin.id_mismatch"
        case .scriptTooLarge: "plugin.script_too_large"
        case .tooManyTasks: "backend.too_many_tasks"
        case .tooManyPlugins: "backend.too_many_plugins"
        case .tooManyCommands: "plugin.too_many_commands"
        case .invalidPath: "api.invalid_path"
        case .invalidTaskID: "task.invalid_id"
        }
    }

    public var message: String {
        switch self {
        case .transport(let error): error.message
        case .credentials(let error): error.message
        case .unauthorized(let url, let status):
            "the backend refused \(quoted(url)) with status \(status); log the agent in, or with auth = False make "
                + "this host known to the backend"
        case .status(let url, let status, let excerpt, let retryAfter):
            "the backend answered \(quoted(url)) with status \(status): \(excerpt)"
                + (retryAfter.map { "; it asks to wait \($0.components.seconds) seconds" } ?? "")
                + "; check the backend's log"
        case .notJSON(let url, let status, let contentType, let excerpt):
            "the response from \(quoted(url)), status \(status), is \(quoted(contentType)) instead of JSON: \(excerpt); "
                + "probably a proxy answered, or server_url is wrong"
        case .invalidJSON(let url, let bytes, let problem):
            "the response from \(quoted(url)) is broken JSON of \(bytes) bytes: \(problem); check the backend and any "
                + "proxies in between"
        case .missingData(let url):
            "the response from \(quoted(url)) has no \"data\"; check that server_url points to a backend"
        case .invalidDocument(let error): error.message
        case .idMismatch(let asked, let received):
            "the backend was asked for the plugin \(quoted(asked)) and answered with \(quoted(received)); it is not "
                + "loaded; correct the backend"
        case .scriptTooLarge(let plugin, let bytes, let limit):
            "the script of the plugin \(quoted(plugin)) has \(bytes) bytes, over the limit of \(limit); make it smaller"
        case .tooManyTasks(let limit):
            "the backend lists more than \(limit) tasks, so the list is ignored; remove tasks in the backend"
        case .tooManyPlugins(let limit):
            "the backend assigns more than \(limit) plugins to this agent, so the list is ignored; remove plugins in the "
                + "backend"
        case .tooManyCommands(let limit):
            "a plugin has more than \(limit) commands and is not loaded; correct the backend"
        case .invalidPath(let path, let problem):
            "the path \(quoted(path)) is refused: \(problem); give a path below /api, and percent-encode what is not "
                + "part of the path's structure"
        case .invalidTaskID(let id):
            "the task id \(quoted(id)) can't be part of a URL; give the task another id in the backend"
        }
    }
}
