import AgentModel
public import Diagnostics

/// Why an access token doesn't do.
public enum AccessTokenProblem: Sendable {
    /// There is none in the request.
    case missing
    /// It is unknown, expired or revoked.
    case invalid
}

/// What a request, a seed folder or the backend's own storage can be wrong in.
public enum ReferenceBackendError: CodedError, Equatable {
    /// What the backend keeps, as it is named in messages and error codes.
    public enum Resource: String, Sendable {
        case agent, plugin, task, run, route, device, request
    }

    /// No such thing, or none that the one who asks may see.
    case notFound(Resource, id: String)
    /// A field of a request, or a parameter of its address, has a wrong value.
    case invalidField(String, problem: String)
    /// A request's body is not JSON, or not an object.
    case invalidBody(problem: String)
    /// An id that was chosen by the client is taken.
    case alreadyExists(Resource, id: String)
    /// A plugin can't be deleted while agents have it.
    case pluginAssigned(id: String, agentIDs: [String])
    /// A task was to be cancelled whose run has ended.
    case hasEnded(task: String)
    /// An agent was asked something and has not answered in time.
    case noAnswer(agentID: String)
    /// An agent has stored as much as it may; `limit` is in bytes.
    case agentStorageFull(agentID: String, limit: Int)
    /// The server has as much to do as it may; `retryAfter` is in seconds.
    case busy(retryAfter: Int)
    /// A request that names a host which isn't known to be this backend's.
    case foreignHost(String)
    /// A request that a page of another site had a browser send.
    case foreignSite(problem: String)
    /// The administration token is missing or wrong.
    case unauthorized
    /// An agent shows no access token, or one that isn't good any more. `problem` says which.
    case agentUnauthorized(AccessTokenProblem)
    /// A code that was approved or denied before, or one that nobody decided on in time.
    case notPending(userCode: String, state: DeviceLogin.State)
    /// Too many wrong codes or tokens from one network; `retryAfter` is in seconds.
    case tooManyAttempts(retryAfter: Int)
    /// A form on the backend's page that wasn't sent from that page by who is logged in there.
    case forgedRequest
    /// A request's body is larger than the limit, in bytes.
    case tooLarge(limit: Int)
    /// The data folder or the database in it can't be used.
    case storage(path: String, problem: String)
    /// The data folder has no database, and none was to be made.
    case notInitialized(folder: String)
    /// A new database was to be made, and there is one.
    case alreadyInitialized(folder: String)
    /// Another server works in the data folder.
    case folderInUse(folder: String)
    /// The database has tables of a later version of the backend.
    case laterVersion(path: String)
    /// The database's files were deleted or replaced while they were in use.
    case storageGone(path: String)
    /// A backup was to be made where a file is.
    case backupExists(file: String)
    /// A backup can't be made, or what is to be restored is none.
    case backup(file: String, problem: String)
    /// A file of the seed folder can't be used.
    case seed(file: String, problem: String)
    /// `--listen` isn't an address, or it is taken.
    case listen(address: String, problem: String)

    public var code: String {
        switch self {
        case .notFound(let resource, _): "\(resource.rawValue).not_found"
        case .invalidField: "request.invalid_field"
        case .invalidBody: "request.invalid_body"
        case .alreadyExists(let resource, _): "\(resource.rawValue).already_exists"
        case .pluginAssigned: "plugin.assigned"
        case .hasEnded: "task.has_ended"
        case .noAnswer: "agent.no_answer"
        case .agentStorageFull: "agent.storage_full"
        case .busy: "backend.busy"
        case .foreignHost: "request.foreign_host"
        case .foreignSite: "request.foreign_site"
        case .unauthorized: "administration.unauthorized"
        case .agentUnauthorized: "agent.unauthorized"
        case .notPending(_, .expired): "device.expired"
        case .notPending: "device.already_decided"
        case .tooManyAttempts: "request.too_many_attempts"
        case .forgedRequest: "request.forged"
        case .tooLarge: "request.too_large"
        case .storage: "backend.storage"
        case .notInitialized: "backend.not_initialized"
        case .alreadyInitialized: "backend.already_initialized"
        case .folderInUse: "backend.folder_in_use"
        case .laterVersion: "backend.later_version"
        case .storageGone: "backend.storage_gone"
        case .backupExists: "backend.backup_exists"
        case .backup: "backend.backup_failed"
        case .seed: "backend.invalid_seed"
        case .listen: "backend.cannot_listen"
        }
    }

    public var message: String {
        switch self {
        case .notFound(.route, let path):
            "there is no route \(quoted(path)) with this method; docs/backend.md lists the routes"
        case .notFound(.device, let code):
            "no host shows the code \(quoted(code)); compare it with what the host shows now: a code is valid for "
                + "some minutes, then the host shows another"
        case .notFound(let resource, let id):
            "there is no \(resource.rawValue) \(quoted(id)); list them to see the existing ids"
        case .invalidField(let field, let problem):
            "\(quoted(field)) is wrong: \(problem)"
        case .invalidBody(let problem):
            "the request's body is wrong: \(problem)"
        case .alreadyExists(let resource, let id):
            "there is a \(resource.rawValue) \(quoted(id)) already; leave \"id\" out to get a new one"
        case .pluginAssigned(let id, let agents):
            "the plugin \(quoted(id)) is assigned to \(agents.count == 1 ? "the agent" : "\(agents.count) agents, such as") "
                + "\(quoted(agents.first ?? "")); unassign it first"
        case .hasEnded(let task):
            "the run of the task \(quoted(task)) has ended: there is nothing to cancel"
        case .noAnswer(let id):
            "the agent \(quoted(id)) has not answered in time; see when it was here last, or ask on its host with "
                + "\"runbook-agent stack\""
        case .agentStorageFull(let id, let limit):
            "the results of the agent \(quoted(id)) have reached the limit of \(limit) bytes per agent; delete runs, keep "
                + "them for a shorter time with --keep-runs, or raise the limit with --max-agent-storage"
        case .busy:
            "the backend has reached its limit of connections or of request data in memory; try again in a moment"
        case .foreignHost(let host):
            "this backend is not known as \(quoted(host)); use its address, or name it with --public-url"
        case .foreignSite(let problem):
            "this looks like a cross-site request made through a browser: \(problem)"
        case .unauthorized:
            "the administration API needs \"Authorization: Bearer TOKEN\" with the token that was printed at the first "
                + "start; \"runbook-backend token reset\" makes a new one"
        case .agentUnauthorized(.missing):
            "this backend knows agents by their login, and the request has no \"Authorization: Bearer TOKEN\"; run "
                + "\"runbook-agent login\" on the host"
        case .agentUnauthorized(.invalid):
            "the access token is unknown, expired or revoked; refresh it, or log in again with \"runbook-agent login\""
        case .notPending(let code, .expired):
            "the code \(quoted(code)) expired before anybody decided on it; take the one that the host shows now"
        case .notPending(let code, let state):
            "the code \(quoted(code)) was \(state == .denied ? "denied" : "approved") already; to decide otherwise "
                + "have the host log in again"
        case .tooManyAttempts(let seconds):
            "there were too many wrong entries from this network; try again in \(seconds) seconds"
        case .forgedRequest:
            "this was not sent from the backend's own page, or the sender is no longer logged in; open \"/device\" "
                + "and enter the code there"
        case .tooLarge(let limit):
            "the request's body is larger than \(limit) bytes; send less, or raise the limit with --max-result-size"
        case .storage(let path, let problem):
            "the storage \(quoted(path)) can't be used: \(problem)"
        case .notInitialized(let folder):
            "there is no database in \(quoted(folder)); name the right folder with --data, restore a backup into it with "
                + "\"runbook-backend restore\", or start with --init to make a new, empty backend there"
        case .alreadyInitialized(let folder):
            "there is a database in \(quoted(folder)) already; start without --init to use it"
        case .folderInUse(let folder):
            "another runbook-backend uses the folder \(quoted(folder)); stop it first, or name another folder with --data"
        case .laterVersion(let path):
            "the database \(quoted(path)) was written by a newer version of runbook-backend and can't be read by this one; "
                + "start that version, or restore a backup that was made before the upgrade"
        case .storageGone(let path):
            "the database \(quoted(path)) was deleted or replaced while the server was using it, so nothing can be stored; "
                + "stop the server, put the folder back or restore a backup, and start it again"
        case .backupExists(let file):
            "there is a file \(quoted(file)) already; name another, or replace it with --force"
        case .backup(let file, let problem):
            "the backup \(quoted(file)) can't be used: \(problem)"
        case .seed(let file, let problem):
            "the seed file \(quoted(file)) can't be used: \(problem)"
        case .listen(let address, let problem):
            "can't listen on \(quoted(address)): \(problem)"
        }
    }

    /// The field that is wrong, dotted, where the error is about one.
    public var field: String? {
        switch self {
        case .invalidField(let field, _): field
        default: nil
        }
    }
}
