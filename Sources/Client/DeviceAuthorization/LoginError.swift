import AgentModel
public import BackendClient
public import Cryptography
public import Diagnostics

/// What can go wrong with logging in and with keeping the tokens. None of the cases holds a token or a device code.
public enum LoginError: CodedError, Equatable {
    // MARK: The backend

    /// No answer at all; code and message are those of the transport.
    case transport(HTTPClientError)
    /// A status that says that it can't answer now.
    case unavailable(url: String, status: Int)
    /// There is nothing at the address that could log anybody in.
    case noEndpoint(url: String, status: Int)
    /// An answer that is none of RFC 6749 and RFC 8628.
    case invalidAnswer(url: String, status: Int, problem: String)
    /// An error of RFC 6749, section 5.2, or another that the backend made up. `description` is the backend's.
    case refused(url: String, error: String, description: String?)
    /// A person said no.
    case denied
    /// A token that can't be used.
    case invalidToken(problem: String)

    // MARK: This host

    /// There is no login. `pending` says what waits for approval.
    case required(pending: String?)
    /// What is stored is a login at another backend, or of another client.
    case foreign(path: String, origin: String, clientID: String)
    /// Plain http to another host.
    case insecureServer(url: String)
    case unsafeFile(path: String, problem: String)
    case invalidKey(path: String, bytes: Int)
    case missingKey(path: String, sealed: String)
    case wrongKey(path: String, sealed: String)
    /// `setAside` is the new name, nil where the file was only looked at.
    case damaged(path: String, problem: String, setAside: String?)
    case newerFormat(path: String, version: Int)
    case storage(path: String, problem: String)
    /// Another process holds the lock for too long.
    case busy(path: String)
    /// What `--token-file` names.
    case tokenFile(path: String, problem: String)
    case cryptography(CryptographyError)

    /// The code of a missing login, which a snapshot of the status keeps as text.
    public static let requiredCode = "login.required"

    public var code: String {
        switch self {
        case .transport(let error): error.code
        case .unavailable: "login.unavailable"
        case .noEndpoint: "login.no_endpoint"
        case .invalidAnswer: "login.invalid_answer"
        case .refused: "login.refused"
        case .denied: "login.denied"
        case .invalidToken: "login.invalid_token"
        case .required: Self.requiredCode
        case .foreign: "login.foreign"
        case .insecureServer: "login.insecure_server"
        case .unsafeFile: "login.unsafe_file"
        case .invalidKey: "login.invalid_key"
        case .missingKey: "login.missing_key"
        case .wrongKey: "login.wrong_key"
        case .damaged: "login.damaged"
        case .newerFormat: "login.newer_format"
        case .storage: "login.storage"
        case .busy: "login.busy"
        case .tokenFile: "login.token_file"
        case .cryptography(let error): error.code
        }
    }

    public var message: String {
        switch self {
        case .transport(let error): error.message
        case .unavailable(let url, let status):
            "the backend answered \(quoted(url)) with status \(status) and will be asked again; check the backend's log"
        case .noEndpoint(let url, let status):
            "the backend has no login at \(quoted(url)) (status \(status)); check server_url, device_code_path and "
                + "token_path, or set auth = False for a backend that knows this host by its address"
        case .invalidAnswer(let url, let status, let problem):
            "unexpected login response from \(quoted(url)), status \(status): \(problem); a wrong server_url or a "
                + "proxy between is likely"
        case .refused(let url, let error, let description):
            "the backend refused the request to \(quoted(url)): \(quoted(error, limit: 60))"
                + (description.map { ", \(quoted($0, limit: 400))" } ?? "")
                + "; check client_id and scope, and look at the backend's log"
        case .denied:
            "the login was denied; if that was a mistake, run \"runbook-agent login\" for a new code"
        case .invalidToken(let problem):
            "the token is refused: \(problem); log in again, and if it happens again, check the backend"
        case .required(let pending):
            "this agent is not logged in" + (pending.map { "; \($0)" } ?? "")
                + "; run \"runbook-agent login\" with the same configuration and as the same user"
        case .insecureServer(let url):
            "the token would go to \(quoted(url)) unprotected; use https, or set allow_insecure = True if nobody can "
                + "listen on the way, or auth = False"
        default: fileMessage
        }
    }

    private var fileMessage: String {
        switch self {
        case .foreign(let path, let origin, let clientID):
            "the login in \(quoted(path)) is for the backend \(quoted(origin)) and the client \(quoted(clientID)), not for "
                + "those of this configuration, and is left alone; correct server_url, client_id or state_directory, log "
                + "out with the configuration it is for, or replace it with \"runbook-agent login --force\""
        case .unsafeFile(let path, let problem):
            "the file \(quoted(path)) is not used: \(problem); find out who changed it, then correct it with chown and "
                + "chmod 600, or remove the file and log in again"
        case .invalidKey(let path, let bytes):
            "the key \(quoted(path)) has \(bytes) bytes; a key is 32 bytes, or 64 hexadecimal digits: restore it, or "
                + "make one with \"openssl rand -hex 32\" and log in again"
        case .missingKey(let path, let sealed):
            "the login in \(quoted(sealed)) can't be opened because its key \(quoted(path)) is not there; restore the key, or run "
                + "\"runbook-agent logout\" and log in again"
        case .wrongKey(let path, let sealed):
            "the login in \(quoted(sealed)) was sealed with another key than \(quoted(path)); restore that key or correct "
                + "key_file, or run \"runbook-agent logout\" and log in again"
        case .damaged(let path, let problem, let setAside):
            "the login in \(quoted(path)) is damaged or was tampered with: \(problem)"
                + (setAside.map { "; it was set aside as \(quoted($0))" } ?? "")
                + "; find out what happened to it, and log in again"
        case .newerFormat(let path, let version):
            "the login in \(quoted(path)) was written by a newer version of the agent (format \(version)); install that "
                + "version, or run \"runbook-agent logout\" and log in again"
        case .storage(let path, let problem):
            "the file \(quoted(path)) could not be used: \(problem); check the disk, and owner and mode of its folder; if "
                + "this user may not write there, set state_directory for the login, and key_file for its key, to places "
                + "where it may (or give the key as runbook-agent.key in systemd's $CREDENTIALS_DIRECTORY)"
        case .busy(let path):
            "another process has held \(quoted(path)) for too long; see which one it is (lsof) and end it"
        case .tokenFile(let path, let problem):
            "no token was taken from \(quoted(path)): \(problem)"
        case .cryptography(let error): error.message
        default: ""
        }
    }
}
