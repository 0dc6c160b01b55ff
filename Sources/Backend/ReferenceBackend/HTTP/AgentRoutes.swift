import AgentModel
import Diagnostics
import Foundation
import Hummingbird
import Logging
import ServiceLifecycle

/// The contract with agents over HTTP: `/api/agent` and what is under it.
struct AgentRoutes: Sendable {
    let service: BackendService
    let authentication: AgentAuthentication
    let maximumResultSize: Int
    /// How many requests are held at the same time.
    let maximumWaits: Int
    let budget: BodyBudget
    let site: Site

    func addRoutes(to router: Router<BackendRequestContext>) {
        let group = router.group("/api/agent")
        if authentication == .none { group.add(middleware: ForeignSiteMiddleware(site: site)) }
        group.get(use: agent)
        group.get("/plugin/{id}", use: plugin)
        group.get("/tasks", use: tasks)
        group.post("/task/{id}", use: storeResult)
        group.put("/run/{id}", use: noteProgress)
        group.post("/run/{id}/output", use: takeOutput)
        group.post("/stack/{id}", use: takeStack)
    }

    private func agent(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        return try JSONReply.makeConditional(try await service.agentDocument(for: id), for: request)
    }

    private func plugin(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        let plugin = try await service.pluginDocument(try context.pathParameter("id"), for: id)
        return try JSONReply.makeConditional(plugin, for: request)
    }

    private func tasks(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        // Where most connections wait already, agents that have none to spare would be turned away: they poll instead.
        guard let limit = request.preferredWait, service.waits.count < maximumWaits else {
            return try await taskList(of: try await agentID(of: request, context), for: request)
        }
        let clock = ContinuousClock()
        // A little less than asked, and not the same for all: they are not to come back in one moment.
        let end = clock.now + min(limit, Self.longestWait) * Double.random(in: 0.9...1)
        var isLast = false
        while true {
            // Each time: a login that has ended meanwhile is told nothing more.
            let id = try await agentID(of: request, context)
            let mark = service.waits.mark(for: id)
            var response = try await taskList(of: id, for: request)
            response.headers[Self.preferenceApplied] = "wait=\(limit.components.seconds)"
            let left = end - clock.now
            if isLast || response.status != .notModified || left <= .zero { return response }
            switch await wait(for: id, since: mark, atMost: left) {
            case .changed: continue
            // Once more: what has changed in this moment is told at once.
            case .timedOut: isLast = true
            case .replaced: return response
            case .stopped:
                response.headers[.connection] = "close"
                return response
            }
        }
    }

    /// The tasks' validator covers the agent's document and what is wanted of runs too: a change of any ends a wait. Whoever
    /// waits isn't sent the whole list where it is as it was.
    private func taskList(of id: String, for request: Request) async throws -> Response {
        let requests = try await service.runRequests(for: id)
        return try TaskListReply(
            tasks: try await service.taskDocuments(for: id), agent: try await service.agentDocument(for: id),
            requests: requests, epoch: service.live.epoch
        ).response(to: request)
    }

    // A run that prints much has many pieces; the agent sends them 16 KiB at a time.
    private static let outputBodyLimit = 1 << 20

    private func noteProgress(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        let progress: RunProgress = try await document(in: request, limit: 64 << 10)
        try await service.note(progress, ofRun: try context.pathParameter("id"), from: id)
        return Response(status: .noContent)
    }

    private func takeOutput(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        return try await budget.withBody(of: request, limit: Self.outputBodyLimit, owner: id) {
            let output: RunOutput = try await document(in: request, limit: Self.outputBodyLimit)
            let next = try await service.take(output, ofRun: try context.pathParameter("id"), from: id)
            return try JSONReply.make(
                RunOutput.Receipt(
                    next: Dictionary(
                        uniqueKeysWithValues: OutputChunk.Stream.allCases.map { ($0.rawValue, next[$0] ?? 0) })))
        }
    }

    private func takeStack(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        return try await budget.withBody(of: request, limit: Self.outputBodyLimit, owner: id) {
            let stack: RunStack = try await document(in: request, limit: Self.outputBodyLimit)
            try service.take(stack, forRequest: try context.pathParameter("id"), from: id)
            return Response(status: .noContent)
        }
    }

    private func wait(
        for id: String, since mark: AgentWaits.Mark, atMost limit: Duration
    ) async -> AgentWaits.End {
        await withGracefulShutdownHandler {
            await service.waits.wait(for: id, since: mark, atMost: limit)
        } onGracefulShutdown: {
            service.waits.stop()
        }
    }

    /// Whatever a client asks for.
    private static let longestWait = Duration.seconds(300)
    private static let preferenceApplied = HTTPFields.Element.Name("Preference-Applied")!

    private func storeResult(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        let id = try await agentID(of: request, context)
        let task = try context.pathParameter("id")
        let delivery = try await budget.withBody(of: request, limit: maximumResultSize, owner: id) {
            let result = try await result(of: request)
            do {
                return try await service.store(result, ofTask: task, from: id, key: idempotencyKey(of: request))
            } catch let error as ReferenceBackendError {
                if case .agentStorageFull = error {
                    context.logger.warning("\(error.message)", metadata: ["agent": "\(id)"])
                }
                throw error
            }
        }
        let receipt = Receipt(
            id: delivery.run.id, taskID: delivery.run.taskID, runID: delivery.run.result.runID)
        switch delivery {
        case .stored: return try JSONReply.make(receipt, status: .created)
        case .repeated: return try JSONReply.make(receipt, status: .ok)
        }
    }

    /// Who is speaking.
    private func agentID(of request: Request, _ context: BackendRequestContext) async throws -> String {
        switch authentication {
        case .device:
            guard let token = request.bearerToken else { throw ReferenceBackendError.agentUnauthorized(.missing) }
            guard let id = try await service.agentID(ofAccessToken: token) else {
                throw ReferenceBackendError.agentUnauthorized(.invalid)
            }
            return id
        case .none:
            return try await service.agentID(atAddress: context.clientAddress)
        }
    }

    private func result(of request: Request) async throws -> TaskResult {
        try await document(in: request, limit: maximumResultSize)
    }

    private func document<Document: Decodable>(in request: Request, limit: Int) async throws -> Document {
        let body = try await request.bodyData(limit: limit)
        guard !JSONText.isNested(body) else {
            throw ReferenceBackendError.invalidBody(
                problem: "objects and arrays are nested deeper than \(JSONText.maximumNesting)")
        }
        do {
            return try JSONDecoder().decode(Document.self, from: body)
        } catch let error as DecodingError {
            guard let field = error.fieldPath else {
                throw ReferenceBackendError.invalidBody(problem: "it is not a JSON object")
            }
            throw ReferenceBackendError.invalidField(
                field, problem: error.sentence.replacing(quoted(field) + " ", with: "it "))
        }
    }

    private static let idempotencyKeyName = HTTPFields.Element.Name("Idempotency-Key")

    // The draft of the header writes its value as a quoted string; our contract writes it bare.
    private func idempotencyKey(of request: Request) -> String? {
        guard let value = Self.idempotencyKeyName.flatMap({ request.headers[$0] }) else { return nil }
        return value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
            ? String(value.dropFirst().dropLast()) : value
    }
}

extension Request {
    /// How long the client would have the answer wait for a change (RFC 7240, section 4.3); nil where it doesn't say.
    var preferredWait: Duration? {
        for field in headers[values: .prefer] {
            for preference in field.split(separator: ",") {
                let parts = preference.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces).lowercased() == "wait" else {
                    continue
                }
                let value = parts[1].trimmingCharacters(in: CharacterSet(charactersIn: " \t\""))
                if let seconds = Int(value), (1...86_400).contains(seconds) { return .seconds(seconds) }
            }
        }
        return nil
    }
}

extension HTTPFields.Element.Name {
    fileprivate static let prefer = HTTPFields.Element.Name("Prefer")!
}

/// What the agent gets back for a result.
private struct Receipt: Encodable {
    var id: String
    var taskID: String
    var runID: String?

    private enum CodingKeys: String, CodingKey {
        case id
        case taskID = "task_id"
        case runID = "run_id"
    }
}

extension DecodingError {
    /// The dotted path of what is wrong; nil where it is the whole text.
    fileprivate var fieldPath: String? {
        let path: [any CodingKey]
        switch self {
        case .keyNotFound(let key, let context): path = context.codingPath + [key]
        case .valueNotFound(_, let context), .typeMismatch(_, let context), .dataCorrupted(let context):
            path = context.codingPath
        @unknown default: return nil
        }
        return path.isEmpty ? nil : path.map(\.stringValue).joined(separator: ".")
    }
}
