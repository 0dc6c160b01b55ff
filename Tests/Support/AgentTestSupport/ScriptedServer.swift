import AgentModel
public import Foundation
import Glibc
import Threads

/// An HTTP/1.1 server on 127.0.0.1 that answers as it is told, also wrongly: what a correct server can't be made to do.
///
/// It accepts on a thread of its own and serves each connection on another. It stops when it is dropped.
public final class ScriptedServer: Sendable {
    /// A request as it came.
    public struct Request: Sendable {
        public let method: String
        /// With the query, as it stood in the request line.
        public let target: String
        public let headers: [(name: String, value: String)]
        public let body: Data
        /// Counts the connections from 1.
        public let connection: Int

        /// The value of the first field with this name, in any case.
        public func header(_ name: String) -> String? {
            headers.first { $0.name.caseInsensitiveCompare(name) == .orderedSame }?.value
        }
    }

    /// What to do with a request.
    public enum Answer: Sendable {
        /// A correct answer; the connection stays open.
        case response(status: Int, headers: [String: String], body: Data)
        /// Announces more bytes than are sent, then closes.
        case truncated(body: Data, announced: Int)
        /// Announces more bytes than are sent, then resets the connection.
        case reset(body: Data, announced: Int)
        /// Closes without a byte.
        case close
        /// Sends bytes as they are, then closes.
        case raw(Data)
        /// Sends the header and then a byte of the body each time the interval has passed.
        case drip(body: Data, interval: Duration)
        /// Says nothing until the client goes away or the server stops.
        case silence

        /// `200` with JSON.
        public static func json(_ text: String, status: Int = 200, headers: [String: String] = [:]) -> Answer {
            .response(
                status: status, headers: ["Content-Type": "application/json"].merging(headers) { $1 },
                body: Data(text.utf8))
        }

        /// A redirect.
        public static func redirect(_ status: Int, to location: String) -> Answer {
            .response(status: status, headers: ["Location": location], body: Data())
        }
    }

    public typealias Handler = @Sendable (Request) -> Answer

    private struct State {
        var routes: [String: Handler] = [:]
        var fallback: Handler?
        var keepsRequests = true
        var requests: [Request] = []
        var connections: [Int32: Int] = [:]
        var connectionCount = 0
        var endedSilences = 0
        var isStopped = false
        var waiters: [(isDue: @Sendable (State) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
    }

    /// The port that the system gave.
    public let port: Int
    private let core: Core

    /// - Throws: `POSIXError` when no socket can be had.
    public init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Self.systemError() }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 256) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isListening else {
            let error = Self.systemError()
            close(descriptor)
            throw error
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        let core = Core(listener: descriptor)
        self.core = core
        Thread.detachNewThread { core.acceptConnections() }
    }

    deinit { core.stop() }

    /// `http://127.0.0.1:PORT`.
    public var url: String { "http://127.0.0.1:\(port)" }

    /// All that came so far.
    public var requests: [Request] { core.state.withLock { $0.requests } }

    /// How many connections were made so far.
    public var connectionCount: Int { core.state.withLock { $0.connectionCount } }

    /// Answers a path (without its query) by a function.
    public func route(_ path: String, handler: @escaping Handler) {
        core.state.withLock { $0.routes[path] = handler }
    }

    /// Answers every path without a route of its own by a function.
    ///
    /// - Parameter keepsRequests: false for servers that are asked so often that ``requests`` would fill the memory.
    public func routeTheRest(keepsRequests: Bool = true, handler: @escaping Handler) {
        core.state.withLock {
            $0.fallback = handler
            $0.keepsRequests = keepsRequests
        }
    }

    /// Answers a path with one answer after the other; the last one stays.
    public func route(_ path: String, _ first: Answer, _ others: Answer...) {
        let left = RemainingAnswers([first] + others)
        route(path) { _ in left.next() }
    }

    /// Returns when so many requests have come in all.
    public func waitForRequests(_ count: Int) async { await core.wait { $0.requests.count >= count } }

    /// Returns when a path (without its query) has been asked for.
    public func request(to path: String) async {
        await core.wait { state in state.requests.contains { $0.target.prefix { $0 != "?" } == path } }
    }

    /// Returns when so many clients have gone away from an `Answer.silence`.
    public func waitForEndedSilences(_ count: Int) async { await core.wait { $0.endedSilences >= count } }

    /// Ends all connections; nothing listens at the port from then on.
    public func stop() { core.stop() }

    private static func systemError() -> POSIXError { POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }

    private final class RemainingAnswers: Sendable {
        private let answers: BlockingLock<[Answer]>

        init(_ answers: [Answer]) { self.answers = BlockingLock(answers) }

        func next() -> Answer { answers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] } }
    }
}

extension ScriptedServer {
    /// What the threads share; they hold this and not the server, so that a dropped server stops.
    private final class Core: Sendable {
        let state = BlockingLock(State())
        private let listener: Int32

        init(listener: Int32) { self.listener = listener }

        func stop() {
            let waiters = state.withLock { state in
                guard !state.isStopped else { return [CheckedContinuation<Void, Never>]() }
                state.isStopped = true
                // Only shut down here: each thread closes its own, so no number is given away while it is in use.
                shutdown(listener, Int32(SHUT_RDWR))
                for descriptor in state.connections.keys { shutdown(descriptor, Int32(SHUT_RDWR)) }
                defer { state.waiters.removeAll() }
                return state.waiters.map(\.continuation)
            }
            for waiter in waiters { waiter.resume() }
        }

        func wait(until isDue: @escaping @Sendable (State) -> Bool) async {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if isDue(state) || state.isStopped { return true }
                    state.waiters.append((isDue, continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        }

        func acceptConnections() {
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else {
                    if errno == EINTR || errno == ECONNABORTED { continue }
                    break
                }
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                let number = state.withLock { state -> Int? in
                    guard !state.isStopped else { return nil }
                    state.connectionCount += 1
                    state.connections[descriptor] = state.connectionCount
                    return state.connectionCount
                }
                guard let number else {
                    close(descriptor)
                    break
                }
                Thread.detachNewThread { self.serve(Connection(descriptor: descriptor, number: number)) }
            }
            close(listener)
        }

        private func serve(_ connection: Connection) {
            while let request = connection.readRequest(), perform(record(request), connection, request) {}
            state.withLock { $0.connections[connection.descriptor] = nil }
            close(connection.descriptor)
        }

        private func record(_ request: Request) -> Answer {
            let handler = update { state in
                if state.keepsRequests { state.requests.append(request) }
                return state.routes[String(request.target.prefix { $0 != "?" })] ?? state.fallback
            }
            return handler?(request) ?? .json(#"{"message": "no such route"}"#, status: 404)
        }

        /// Changes the state and wakes up those who waited for that.
        private func update<Value: Sendable>(_ change: (inout State) -> Value) -> Value {
            let (value, due) = state.withLock { state in
                let value = change(&state)
                let snapshot = state
                let due = state.waiters.filter { $0.isDue(snapshot) }
                state.waiters.removeAll { $0.isDue(snapshot) }
                return (value, due.map(\.continuation))
            }
            for waiter in due { waiter.resume() }
            return value
        }

        /// Does what was scripted. True when the connection may carry another request.
        private func perform(_ answer: Answer, _ connection: Connection, _ request: Request) -> Bool {
            switch answer {
            case .response(let status, let headers, let body):
                let isBodiless = request.method == "HEAD" || status == 204 || status == 304
                var head = "HTTP/1.1 \(status) Scripted\r\n"
                for (name, value) in headers { head += "\(name): \(value)\r\n" }
                if !isBodiless { head += "Content-Length: \(body.count)\r\n" }
                return connection.send(Data((head + "\r\n").utf8) + (isBodiless ? Data() : body))
            case .truncated(let body, let announced):
                _ = connection.send(Self.head(announced) + body)
            case .reset(let body, let announced):
                _ = connection.send(Self.head(announced) + body)
                connection.reset()
            case .close: break
            case .raw(let bytes): _ = connection.send(bytes)
            case .drip(let body, let interval):
                guard connection.send(Self.head(body.count)) else { return false }
                for byte in body {
                    guard !connection.isClosed(within: interval), connection.send(Data([byte])) else { return false }
                }
            case .silence:
                while !connection.isClosed(within: .seconds(3600)) {}
                update { $0.endedSilences += 1 }
            }
            return false
        }

        private static func head(_ length: Int) -> Data {
            Data("HTTP/1.1 200 Scripted\r\nContent-Type: application/json\r\nContent-Length: \(length)\r\n\r\n".utf8)
        }
    }

    /// One accepted connection. Only its own thread uses it.
    private final class Connection {
        let descriptor: Int32
        private let number: Int
        private var buffer = Data()

        init(descriptor: Int32, number: Int) {
            self.descriptor = descriptor
            self.number = number
        }

        func readRequest() -> Request? {
            let end = Data("\r\n\r\n".utf8)
            while buffer.range(of: end) == nil {
                guard fill() else { return nil }
                // A TLS handshake begins with this byte and would never come to an empty line.
                if buffer.first == 0x16 {
                    _ = send(Data("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8))
                    return nil
                }
            }
            guard let range = buffer.range(of: end) else { return nil }
            let lines = String(decoding: buffer[..<range.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
            buffer = Data(buffer[range.upperBound...])
            let start = lines[0].split(separator: " ")
            guard start.count == 3 else { return nil }
            let headers = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
                guard let colon = line.firstIndex(of: ":") else { return nil }
                let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
                return (String(line[..<colon]), value)
            }
            let length = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
            while buffer.count < length { guard fill() else { return nil } }
            defer { buffer = Data(buffer.dropFirst(length)) }
            return Request(
                method: String(start[0]), target: String(start[1]), headers: headers,
                body: Data(buffer.prefix(length)), connection: number)
        }

        func send(_ data: Data) -> Bool {
            data.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> Bool in
                var sent = 0
                while sent < bytes.count {
                    let piece = UnsafeRawBufferPointer(rebasing: bytes[sent...])
                    let count = Glibc.send(descriptor, piece.baseAddress, piece.count, Int32(MSG_NOSIGNAL))
                    guard count > 0 else { return false }
                    sent += count
                }
                return true
            }
        }

        /// Makes the close that follows a reset.
        func reset() {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }

        /// Whether the other side, or the server's stop, ended the connection in this time.
        func isClosed(within time: Duration) -> Bool {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let milliseconds = time.components.seconds * 1000 + time.components.attoseconds / 1_000_000_000_000_000
            guard poll(&entry, 1, Int32(clamping: milliseconds)) > 0 else { return false }
            return !fill()
        }

        private func fill() -> Bool {
            var piece = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &piece, piece.count, 0)
            guard count > 0 else { return false }
            buffer.append(contentsOf: piece[..<count])
            return true
        }
    }
}
