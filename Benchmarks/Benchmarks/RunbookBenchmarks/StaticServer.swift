import Foundation
import Glibc
import Synchronization

/// An HTTP/1.1 server on 127.0.0.1 that reads requests and gives each path the same bytes every time.
///
/// One thread and poll(2): it must cost little beside what is measured on the same machine.
///
/// Unchecked because only its thread touches anything after the start.
final class StaticServer: @unchecked Sendable {
    let port: Int
    private let listener: Int32
    private let answers: [String: [UInt8]]
    private let fallback: [UInt8]
    private let fault: (() -> Fault?)?
    private var connections: [Int32: [UInt8]] = [:]
    /// Answers that are given later, in their order.
    private var delayed: [(time: ContinuousClock.Instant, descriptor: Int32)] = []
    private let accepted = Mutex<Set<String>>([])

    /// What a server does wrongly with a request.
    enum Fault: CaseIterable {
        case error, limit, proxyPage, closed, truncated, slowError
        /// It never answers.
        case silence
    }

    /// Paths that were posted to and answered as they should be.
    var acceptedCount: Int { accepted.withLock { $0.count } }

    struct SocketError: Error {
        let code: Int32
    }

    /// - Parameters:
    ///   - answers: bodies by path; every other path gets `fallback`.
    ///   - fault: asked for each request, on the server's thread.
    init(answers: [String: String], fallback: String, fault: (() -> Fault?)? = nil) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 256) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard listener >= 0, isListening else { throw SocketError(code: errno) }
        port = Int(UInt16(bigEndian: address.sin_port))
        self.answers = answers.mapValues { Self.response($0) }
        self.fallback = Self.response(fallback)
        self.fault = fault
        Thread.detachNewThread { self.serve() }
    }

    private static func response(_ body: String, status: String = "200 OK") -> [UInt8] {
        Array(
            "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8)
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var entries = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
            entries += connections.keys.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let count = poll(&entries, nfds_t(entries.count), delayed.isEmpty ? -1 : 10)
            while let first = delayed.first, first.time <= .now {
                delayed.removeFirst()
                if connections[first.descriptor] != nil {
                    send(Self.response("{}", status: "503 Service Unavailable"), first.descriptor)
                }
            }
            guard count > 0 else { continue }
            for entry in entries where entry.revents != 0 {
                if entry.fd == listener {
                    let descriptor = accept(listener, nil, nil)
                    var yes: Int32 = 1
                    setsockopt(
                        descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
                    if descriptor >= 0 { connections[descriptor] = [] }
                    continue
                }
                let count = recv(entry.fd, &buffer, buffer.count, 0)
                guard count > 0 else {
                    connections[entry.fd] = nil
                    close(entry.fd)
                    continue
                }
                connections[entry.fd]?.append(contentsOf: buffer[..<count])
                while connections[entry.fd] != nil, let request = takeRequest(entry.fd) { answer(request, entry.fd) }
            }
        }
    }

    /// The head of a request that is there as a whole.
    private func takeRequest(_ descriptor: Int32) -> Data? {
        guard let bytes = connections[descriptor], !bytes.isEmpty else { return nil }
        let data = Data(bytes)
        guard let end = data.range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let head = data[..<end.lowerBound]
        var length = 0
        if let field = head.range(of: Data("Content-Length: ".utf8)) {
            length = Int(String(decoding: head[field.upperBound...].prefix { $0 != 13 }, as: UTF8.self)) ?? 0
        }
        guard data.count >= end.upperBound + length else { return nil }
        connections[descriptor]?.removeFirst(end.upperBound + length)
        return head
    }

    private func answer(_ head: Data, _ descriptor: Int32) {
        let line = String(decoding: head.prefix { $0 != 13 }, as: UTF8.self).split(separator: " ")
        let path = line.count > 1 ? String(line[1]) : ""
        if let fault = fault?() { return answer(with: fault, descriptor) }
        send(answers[path] ?? fallback, descriptor)
        if line.first == "POST" { accepted.withLock { _ = $0.insert(path) } }
    }

    private func answer(with fault: Fault, _ descriptor: Int32) {
        switch fault {
        case .error: send(Self.response("{}", status: "500 Internal Server Error"), descriptor)
        case .limit: send(Self.response("{}", status: "429 Too Many Requests\r\nRetry-After: 1"), descriptor)
        case .proxyPage: send(Self.response("<html>proxy page</html>"), descriptor)
        case .truncated: send(Self.response(#"{"data": [{"id": "x"#), descriptor)
        case .slowError: delayed.append((.now + .milliseconds(1500), descriptor))
        case .silence: break
        case .closed:
            connections[descriptor] = nil
            close(descriptor)
        }
    }

    private func send(_ answer: [UInt8], _ descriptor: Int32) {
        var sent = 0
        while sent < answer.count {
            let count = answer[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
