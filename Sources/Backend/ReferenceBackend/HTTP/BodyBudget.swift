import Foundation
import Hummingbird
import Synchronization

/// The memory for large bodies of requests and answers, of all connections together.
///
/// A body takes its place before it is read. Who finds none waits for it, in turn; half of it is the most that one owner
/// has, so that one agent doesn't keep the others out.
final class BodyBudget: Sendable {
    /// Smaller bodies aren't counted: the number of connections bounds them.
    static let smallest = 64 << 10

    private struct Waiter {
        var id: UInt64
        var bytes: Int
        var owner: String
        var continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var used = 0
        var owners: [String: Int] = [:]
        var waiters: [Waiter] = []
        var lastID: UInt64 = 0
    }

    private let capacity: Int
    private let patience: Duration
    private let state = Mutex(State())

    /// - Parameters:
    ///   - capacity: In bytes.
    ///   - patience: How long a body waits for its place.
    init(capacity: Int, patience: Duration = .seconds(30)) {
        self.capacity = capacity
        self.patience = patience
    }

    /// Does something with a request's body in memory.
    /// - Parameters:
    ///   - limit: The largest body, in bytes; one that doesn't say how large it is counts as that large.
    ///   - owner: Whose body it is.
    /// - Throws: `ReferenceBackendError.tooLarge`, `.busy`, and what the body throws.
    func withBody<T>(of request: Request, limit: Int, owner: String, _ body: () async throws -> T) async throws -> T {
        let announced = request.headers[.contentLength].flatMap { Int($0) }
        if let announced, announced > limit { throw ReferenceBackendError.tooLarge(limit: limit) }
        let isChunked = request.headers[.transferEncoding] != nil
        let bytes = announced ?? (isChunked ? limit : 0)
        guard bytes > Self.smallest else { return try await body() }
        guard await take(bytes, for: owner) else { throw ReferenceBackendError.busy(retryAfter: 1) }
        defer { give(bytes, of: owner) }
        return try await body()
    }

    /// Waits for a place.
    /// - Returns: False where none came in time.
    func take(_ bytes: Int, for owner: String) async -> Bool {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                self.giveUp(id)
            }
            defer { group.cancelAll() }
            return await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if Self.fits(bytes, owner, state, capacity) {
                        Self.take(bytes, owner, &state)
                        return true
                    }
                    state.waiters.append(Waiter(id: id, bytes: bytes, owner: owner, continuation: continuation))
                    return false
                }
                if isThere { continuation.resume(returning: true) }
            }
        }
    }

    /// Takes a place if there is one now.
    func tryTake(_ bytes: Int, for owner: String) -> Bool {
        state.withLock { state in
            guard Self.fits(bytes, owner, state, capacity) else { return false }
            Self.take(bytes, owner, &state)
            return true
        }
    }

    func give(_ bytes: Int, of owner: String) {
        let served = state.withLock { state in
            state.used -= bytes
            let rest = (state.owners[owner] ?? 0) - bytes
            state.owners[owner] = rest > 0 ? rest : nil
            var served: [CheckedContinuation<Bool, Never>] = []
            // In turn, but for those whose owner has enough: they let the others go first.
            let waiters = state.waiters
            state.waiters = []
            for waiter in waiters {
                if Self.fits(waiter.bytes, waiter.owner, state, capacity) {
                    Self.take(waiter.bytes, waiter.owner, &state)
                    served.append(waiter.continuation)
                } else {
                    state.waiters.append(waiter)
                }
            }
            return served
        }
        for continuation in served { continuation.resume(returning: true) }
    }

    /// How many wait for a place.
    var waiting: Int { state.withLock { $0.waiters.count } }

    private func giveUp(_ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: index)
        }
        waiter?.continuation.resume(returning: false)
    }

    // Even what is larger than the whole fits while there is nothing else.
    private static func fits(_ bytes: Int, _ owner: String, _ state: State, _ capacity: Int) -> Bool {
        let own = state.owners[owner] ?? 0
        return (state.used == 0 || state.used + bytes <= capacity) && (own == 0 || own + bytes <= capacity / 2)
    }

    private static func take(_ bytes: Int, _ owner: String, _ state: inout State) {
        state.used += bytes
        state.owners[owner, default: 0] += bytes
    }
}

/// Counts bodies of requests of the administration API.
struct BodyBudgetMiddleware: RouterMiddleware {
    let budget: BodyBudget
    let limit: Int

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        try await budget.withBody(of: request, limit: limit, owner: "administration") {
            try await next(request, context)
        }
    }
}

/// Counts large answers until the other end has taken them, and hands them out in pieces, no faster than it does.
struct LargeAnswerMiddleware: RouterMiddleware {
    let budget: BodyBudget

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        guard let size = response.body.contentLength, size > BodyBudget.smallest, request.method != .head else {
            return response
        }
        let owner = "answers for \(context.clientAddress)"
        guard budget.tryTake(size, for: owner) else { throw ReferenceBackendError.busy(retryAfter: 1) }
        let place = Place(budget: budget, bytes: size, owner: owner)
        let whole = response.body
        response.body = ResponseBody(contentLength: size) { writer in
            try await withExtendedPlace(place) { try await whole.write(Pieces(writer: writer)) }
        }
        return response
    }

    /// Given back with the last reference, whether the answer was written or not.
    private final class Place: Sendable {
        private let budget: BodyBudget
        private let bytes: Int
        private let owner: String

        init(budget: BodyBudget, bytes: Int, owner: String) {
            self.budget = budget
            self.bytes = bytes
            self.owner = owner
        }

        deinit { budget.give(bytes, of: owner) }
    }

    private func withExtendedPlace(_ place: Place, _ body: () async throws -> Void) async throws {
        try await body()
        withExtendedLifetime(place) {}
    }

    private struct Pieces: ResponseBodyWriter {
        var writer: any ResponseBodyWriter

        mutating func write(_ buffer: ByteBuffer) async throws {
            var rest = buffer
            while let piece = rest.readSlice(length: min(rest.readableBytes, BodyBudget.smallest)),
                piece.readableBytes > 0
            {
                try await writer.write(piece)
            }
        }

        consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
            try await writer.finish(trailingHeaders)
        }
    }
}
