import Foundation
import Glibc

/// An HTTP/1.1 server on 127.0.0.1 that reads requests and gives each path the same bytes every time.
///
/// One thread and poll(2): it must cost little beside what is measured on the same machine.
///
/// Unchecked because only its thread touches anything after the start.
final class StaticServer: @unchecked Sendable {
    let port: Int
    private let listener: Int32
    private let answers: [(path: Data, answer: [UInt8])]
    private let fallback: [UInt8]
    private var connections: [Int32: [UInt8]] = [:]

    struct SocketError: Error {
        let code: Int32
    }

    /// - Parameters:
    ///   - answers: bodies by path; every other path gets `fallback`.
    init(answers: [String: String], fallback: String) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 64) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard listener >= 0, isListening else { throw SocketError(code: errno) }
        port = Int(UInt16(bigEndian: address.sin_port))
        self.answers = answers.map { (Data(" \($0) ".utf8), Self.response($1)) }
        self.fallback = Self.response(fallback)
        Thread.detachNewThread { self.serve() }
    }

    private static func response(_ body: String) -> [UInt8] {
        Array(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8)
    }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var entries = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
            entries += connections.keys.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&entries, nfds_t(entries.count), -1) > 0 else { continue }
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
                while let request = takeRequest(entry.fd) { answer(request, entry.fd) }
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
        let line = head.prefix { $0 != 13 }
        let answer = answers.first { line.range(of: $0.path) != nil }?.answer ?? fallback
        var sent = 0
        while sent < answer.count {
            let count = answer[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
