public import AgentModel
import Diagnostics
public import Foundation

/// The backend's API: the contract's documents in, results out.
public final class BackendClient: Sendable {
    /// What is taken from a backend at most.
    public struct Limits: Sendable {
        /// Bytes of any response.
        public var response = 64 << 20
        /// Bytes of a plugin's script.
        public var script = 8 << 20
        /// Entries of the task list.
        public var tasks = 100_000
        /// Plugins of the agent.
        public var plugins = 10_000

        public init() {}
    }

    /// Without a slash at its end.
    public let serverURL: HTTPURL
    public let limits: Limits
    private let base: String
    private let http: HTTPClient
    private let credentials: any CredentialProvider

    /// - Parameters:
    ///   - serverURL: where the backend is; a path before `/api` is kept, slashes at the end are not.
    ///   - http: carries the requests; it stays its owner's to shut down.
    /// - Throws: `BackendError.transport` with code `http.invalid_url`.
    public init(
        serverURL: String, http: HTTPClient, credentials: any CredentialProvider = NoCredentials(),
        limits: Limits = Limits()
    ) throws(BackendError) {
        do throws(HTTPClientError) {
            let url = try HTTPURL(serverURL.trimmingCharacters(in: .whitespaces))
            guard !url.hasQuery else {
                throw HTTPClientError.invalidURL(text: serverURL, problem: "a server URL has no query")
            }
            base = String(url.text.reversed().drop { $0 == "/" }.reversed())
            self.serverURL = try HTTPURL(base)
        } catch {
            throw .transport(error)
        }
        self.http = http
        self.credentials = credentials
        self.limits = limits
    }

    // MARK: The contract

    /// `GET /api/agent`: who this agent is and which plugins it must have.
    /// - Throws: `BackendError` with code `backend.too_many_plugins`, beside the usual.
    public func agent(ifNoneMatch etag: String? = nil) async throws(BackendError) -> Poll<AgentDocument> {
        let response = try await get(.api("agent"), ifNoneMatch: etag)
        return try poll(
            response, AgentDocument.selection(plugins: limits.plugins), document: "agent", ifNoneMatch: etag)
    }

    /// `GET /api/agent/plugin/{PLUGIN_ID}`. The script is not checked against the hash here.
    /// - Throws: `BackendError` with code `plugin.id_mismatch` or `plugin.script_too_large`, beside the usual.
    public func plugin(_ id: PluginID) async throws(BackendError) -> PluginDocument {
        let response = try await get(.api("agent/plugin/\(id)"), ifNoneMatch: nil)
        let document: PluginDocument = try ResponseReader(response: try expect200(response))
            .content(of: "plugin", selecting: PluginDocument.selection)
        guard document.id == id.rawValue else { throw .idMismatch(asked: id.rawValue, received: document.id) }
        let bytes = document.script.utf8.count
        guard bytes <= limits.script else {
            throw .scriptTooLarge(plugin: id.rawValue, bytes: bytes, limit: limits.script)
        }
        return document
    }

    /// `GET /api/agent/tasks`: the whole list, and what is wanted of runs.
    /// - Parameters:
    ///   - etag: of the answer before.
    ///   - wait: for how long the backend is asked to hold the request, until the list, the agent's document or what is
    ///     wanted of runs is another (`Prefer: wait`, RFC 7240, section 4.3). One that doesn't know that answers at once.
    /// - Throws: `BackendError` with code `backend.too_many_tasks`, beside the usual.
    public func tasks(
        ifNoneMatch etag: String? = nil, wait: Duration? = nil
    ) async throws(BackendError) -> TasksPoll {
        let headers = wait.map { [HTTPHeader(name: "Prefer", value: "wait=\($0.components.seconds)")] } ?? []
        // Whatever `request_timeout` says: it is the backend that takes its time.
        let limit = wait.map { $0 + Self.waitMargin }
        let response = try await get(.api("agent/tasks"), ifNoneMatch: etag, headers: headers, limit: limit)
        let applied = response.header("Preference-Applied") ?? ""
        var poll = TasksPoll(
            etag: etag, isHeld: applied.lowercased().hasPrefix("wait"),
            closes: response.header("Connection")?.lowercased() == "close")
        if response.status == 304, etag != nil { return poll }
        let reader = ResponseReader(response: try expect200(response))
        let answer: TasksAnswer = try reader.document("tasks", selecting: TasksAnswer.selection(limit: limits.tasks))
        // Only a request with a tag can be answered so.
        if answer.list == nil, etag == nil { throw .missingData(url: response.url.text) }
        (poll.list, poll.requests, poll.etag) = (answer.list, answer.requests, reader.etag)
        return poll
    }

    private static let waitMargin = Duration.seconds(10)

    /// `POST /api/agent/task/{TASK_ID}`: the result of one run.
    /// - Parameters:
    ///   - body: JSON of a `TaskResult`.
    ///   - idempotencyKey: the run's id, under which the backend keeps one result however often it comes.
    public func deliver(_ body: Data, taskID: String, idempotencyKey: String?) async -> DeliveryOutcome {
        do throws(BackendError) {
            guard let segment = BackendPath.segment(taskID) else { throw .invalidTaskID(taskID) }
            var headers = [HTTPHeader(name: "Content-Type", value: "application/json")]
            if let idempotencyKey { headers.append(HTTPHeader(name: "Idempotency-Key", value: idempotencyKey)) }
            let response = try await send(
                .post, .result(ofTask: segment), headers: headers, body: body, keepsMethod: true)
            let reader = ResponseReader(response: response)
            // 200 and 201 are the contract's, and 204 says the same without a body. 202 (not acted upon yet) and 206
            // (a part) don't say that the backend has it (RFC 9110, section 15.3).
            guard [200, 201, 204].contains(response.status) else { throw reader.unexpectedStatus }
            // A proxy's login page comes with 200 too.
            try reader.checkReceipt()
            return .delivered
        } catch {
            return DeliveryOutcome(error)
        }
    }

    /// `PUT /api/agent/run/{RUN_ID}`: how a run in progress is doing.
    /// - Returns: whether the backend wants to know that.
    /// - Throws: what any request throws.
    public func report(_ progress: RunProgress, of runID: String) async throws(BackendError) -> Bool {
        try await send(progress, .put, "agent/run/\(try Self.segment(ofRun: runID))").status != 404
    }

    /// What became of a piece of a run's output.
    public enum OutputAnswer: Sendable {
        /// With where the backend goes on, where it says so.
        case taken(RunOutput.Receipt?)
        /// Nobody watches that run.
        case unwanted
    }

    /// `POST /api/agent/run/{RUN_ID}/output`: pieces of what a watched run prints.
    /// - Throws: what any request throws.
    public func send(_ output: RunOutput, ofRun runID: String) async throws(BackendError) -> OutputAnswer {
        let response = try await send(output, .post, "agent/run/\(try Self.segment(ofRun: runID))/output")
        if response.status == 404 { return .unwanted }
        let receipt = try? JSONDecoder().decode(Envelope<RunOutput.Receipt>.self, from: response.body)
        return .taken(receipt?.data)
    }

    /// `POST /api/agent/stack/{REQUEST_ID}`: where a run is in its code. Nobody may want it any more.
    /// - Throws: what any request throws.
    public func send(_ stack: RunStack, forRequest id: String) async throws(BackendError) {
        _ = try await send(stack, .post, "agent/stack/\(try Self.segment(ofRun: id))")
    }

    private static func segment(ofRun id: String) throws(BackendError) -> String {
        guard let segment = BackendPath.segment(id) else {
            throw .invalidPath(id, problem: "it is no run's id")
        }
        return segment
    }

    private func send(
        _ document: some Encodable, _ method: HTTPMethod, _ path: String
    ) async throws(BackendError) -> HTTPResponse {
        let body: Data
        do { body = try JSONEncoder().encode(document) } catch { throw .invalidPath(path, problem: "\(error)") }
        let headers = [HTTPHeader(name: "Content-Type", value: "application/json")]
        let response = try await send(method, .api(path), headers: headers, body: body, keepsMethod: true)
        guard (200..<300).contains(response.status) || response.status == 404 else {
            throw ResponseReader(response: response).unexpectedStatus
        }
        return response
    }

    // MARK: Anything else

    /// Calls the backend for a plugin, with the agent's credentials. Gives back the answer whatever its status.
    /// - Throws: `BackendError.transport` or `.credentials`: there was no answer.
    public func call(
        _ method: HTTPMethod, _ path: BackendPath, jsonBody: Data? = nil
    ) async throws(BackendError) -> HTTPResponse {
        let headers = jsonBody == nil ? [] : [HTTPHeader(name: "Content-Type", value: "application/json")]
        return try await send(method, path, headers: headers, body: jsonBody)
    }

    /// The same for a thread that may block: never on the cooperative pool, and with the GIL released.
    public func callAndWait(
        _ method: HTTPMethod, _ path: BackendPath, jsonBody: Data? = nil
    ) throws(BackendError) -> HTTPResponse {
        let answer = BlockingAnswer<HTTPResponse, BackendError>()
        // Not a loose task: this thread waits for its end. Credentials may need a refresh, which is asynchronous.
        Task {
            do throws(BackendError) {
                answer.set(.success(try await call(method, path, jsonBody: jsonBody)))
            } catch {
                answer.set(.failure(error))
            }
        }
        return try answer.wait().get()
    }

    // MARK: Steps

    private func get(
        _ path: BackendPath, ifNoneMatch etag: String?, headers: [HTTPHeader] = [], limit: Duration? = nil
    ) async throws(BackendError) -> HTTPResponse {
        let condition = etag.map { [HTTPHeader(name: "If-None-Match", value: $0)] } ?? []
        return try await send(.get, path, headers: headers + condition, body: nil, limit: limit)
    }

    private func poll<Document: Decodable>(
        _ response: HTTPResponse, _ selection: JSONSelection, document: String, ifNoneMatch etag: String?
    ) throws(BackendError) -> Poll<Document> {
        if response.status == 304, etag != nil { return .unchanged }
        let reader = ResponseReader(response: try expect200(response))
        return .changed(try reader.content(of: document, selecting: selection), etag: reader.etag)
    }

    private func expect200(_ response: HTTPResponse) throws(BackendError) -> HTTPResponse {
        guard response.status == 200 else { throw ResponseReader(response: response).unexpectedStatus }
        return response
    }

    /// Sends a request with credentials, and once more with others when they were refused.
    private func send(
        _ method: HTTPMethod, _ path: BackendPath, headers: [HTTPHeader], body: Data?, keepsMethod: Bool = false,
        limit: Duration? = nil
    ) async throws(BackendError) -> HTTPResponse {
        var request = HTTPRequest(
            method: method, url: try url(of: path),
            headers: [HTTPHeader(name: "Accept", value: "application/json")] + headers, body: body,
            timeLimit: limit, idleLimit: limit, responseLimit: limits.response, keepsMethod: keepsMethod)
        let authorization = try await provided { try await credentials.authorization() }
        guard let authorization else { return try await transport(request) }
        let plain = request.headers
        request.headers = plain + [authorization.header]
        let response = try await transport(request)
        if let scheme = response.foreignChallenge {
            throw .transport(.proxyUnauthorized(at: response.url.text, status: response.status, scheme: scheme))
        }
        guard response.status == 401,
            let other = try await provided({ try await credentials.replacement(for: authorization) })
        else { return response }
        request.headers = plain + [other.header]
        return try await transport(request)
    }

    private func url(of path: BackendPath) throws(BackendError) -> HTTPURL {
        let text = try path.checkedText()
        do throws(HTTPClientError) {
            let url = try HTTPURL(base + text)
            guard url.origin == serverURL.origin, isInPlace(url, path) else {
                throw HTTPClientError.invalidURL(text: url.text, problem: "it leads away from the backend")
            }
            return url
        } catch {
            throw .transport(error)
        }
    }

    /// Whether libcurl's parser sees the path below where it has to be.
    private func isInPlace(_ url: HTTPURL, _ path: BackendPath) -> Bool {
        let root = serverURL.path.hasSuffix("/") ? serverURL.path : serverURL.path + "/"
        return switch path {
        case .api, .result: url.path.hasPrefix(root + "api/")
        case .root: url.path.hasPrefix(root)
        }
    }

    private func transport(_ request: HTTPRequest) async throws(BackendError) -> HTTPResponse {
        do {
            return try await http.send(request)
        } catch {
            throw .transport(error)
        }
    }

    private func provided(
        _ ask: () async throws -> Authorization?
    ) async throws(BackendError) -> Authorization? {
        do {
            return try await ask()
        } catch let error as any CodedError {
            throw .credentials(error)
        } catch {
            throw .credentials(UncodedCredentialsError(type: "\(type(of: error))"))
        }
    }
}

/// A provider's error without a code. Its text isn't shown: nobody knows what is in it.
private struct UncodedCredentialsError: CodedError {
    let type: String

    var code: String { "backend.credentials" }
    var message: String { "the credentials could not be had (\(type)); log the agent in again" }
}
