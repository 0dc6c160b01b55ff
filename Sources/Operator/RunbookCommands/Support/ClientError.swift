import Diagnostics

/// Why the client could not do what was asked.
enum ClientError: CodedError, Equatable {
    /// Nobody said which backend, or with which token.
    case notLoggedIn(missing: String)
    /// The file that keeps them can't be used.
    case storage(path: String, problem: String)
    /// The backend answered with an error, in its own words.
    case refused(code: String, message: String)
    /// What answered doesn't speak as our backend does.
    case notABackend(url: String, problem: String)
    /// No host is called so.
    case unknownHost(String, known: [String])
    case ambiguousHost(String, ids: [String])
    case noHosts(String)
    case invalidArguments(problem: String)
    case invalidFile(path: String, problem: String)

    var code: String {
        switch self {
        case .notLoggedIn: "client.not_logged_in"
        case .storage: "client.storage"
        case .refused(let code, _): code
        case .notABackend: "client.not_a_backend"
        case .unknownHost: "client.unknown_host"
        case .ambiguousHost: "client.ambiguous_host"
        case .noHosts: "client.no_hosts"
        case .invalidArguments: "client.invalid_arguments"
        case .invalidFile: "client.invalid_file"
        }
    }

    var message: String {
        switch self {
        case .notLoggedIn(let missing):
            "\(missing) is not set; run \"runbook login\", or set RUNBOOK_URL and RUNBOOK_TOKEN"
        case .storage(let path, let problem): "the file \(quoted(path)) can't be used: \(problem)"
        case .refused(_, let message): message
        case .notABackend(let url, let problem):
            "\(url) doesn't answer as a runbook-backend: \(problem); check RUNBOOK_URL"
        case .unknownHost(let name, let known):
            "there is no host \(quoted(name))" + Self.suggestion(known, "no host has logged in yet", "hosts are")
        case .ambiguousHost(let name, let ids):
            "\(ids.count) hosts are called \(quoted(name)); name one by its id: \(ids.prefix(5).joined(separator: ", "))"
        case .noHosts(let what): "there is no host \(what)"
        case .invalidArguments(let problem): problem
        case .invalidFile(let path, let problem): "\(quoted(path)): \(problem)"
        }
    }

    private static func suggestion(_ known: [String], _ none: String, _ some: String) -> String {
        guard !known.isEmpty else { return "; \(none)" }
        let rest = known.count > 10 ? " and \(known.count - 10) more" : ""
        return "; \(some) \(known.prefix(10).map { quoted($0) }.joined(separator: ", "))\(rest)"
    }
}
