public import AgentModel

/// What a request, a seed folder or the backend's own storage can be wrong in.
public enum ReferenceBackendError: CodedError, Equatable {
    /// What the backend keeps, as it is named in messages and error codes.
    public enum Resource: String, Sendable {
        case agent, plugin, task, run, route
    }

    /// No such thing, or none that the one who asks may see.
    case notFound(Resource, id: String)
    /// A field of a request, or a parameter of its address, has a wrong value.
    case invalidField(String, problem: String)
    /// A request's body is not JSON, or not an object.
    case invalidBody(problem: String)
    /// An id that was chosen by the client is taken.
    case alreadyExists(Resource, id: String)
    /// The administration token is missing or wrong.
    case unauthorized
    /// A request's body is larger than the limit, in bytes.
    case tooLarge(limit: Int)
    /// The data folder or the database in it can't be used.
    case storage(path: String, problem: String)
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
        case .unauthorized: "administration.unauthorized"
        case .tooLarge: "request.too_large"
        case .storage: "backend.storage"
        case .seed: "backend.invalid_seed"
        case .listen: "backend.cannot_listen"
        }
    }

    public var message: String {
        switch self {
        case .notFound(.route, let path):
            "there is nothing at \(quoted(path)) for this method; docs/backend.md lists the routes"
        case .notFound(let resource, let id):
            "there is no \(resource.rawValue) \(quoted(id)) here; list them to see the ids there are"
        case .invalidField(let field, let problem):
            "\(quoted(field)) is wrong: \(problem)"
        case .invalidBody(let problem):
            "the request's body is wrong: \(problem)"
        case .alreadyExists(let resource, let id):
            "there is a \(resource.rawValue) \(quoted(id)) already; leave \"id\" out to get a new one"
        case .unauthorized:
            "the administration API needs \"Authorization: Bearer TOKEN\" with the token that was printed at the first "
                + "start; \"runbook-backend token reset\" makes a new one"
        case .tooLarge(let limit):
            "the request's body is larger than \(limit) bytes; send less, or raise the limit with --max-result-size"
        case .storage(let path, let problem):
            "the storage \(quoted(path)) can't be used: \(problem)"
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
