import Foundation

/// A TLS server that offers HTTP/2 alone, by ALPN (RFC 7301), and refuses whoever speaks something else: Python's `ssl`
/// and as much of RFC 9113 as answers a request.
///
/// The first request of a connection is answered at once. Those after it are answered when there are ``atATime`` of
/// them, so that a client that opens a connection for each gets no answer. An answer says by which connection and
/// stream it came.
final class HTTP2Server: Sendable {
    static let program = "/usr/bin/python3"
    static let atATime = 4

    let url: String
    private let process: pid_t

    init(certificate: String, key: String) throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
        defer { close(ends[0]) }
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        process = try TLSServer.start(
            ["-c", Self.script, certificate, key, "\(Self.atATime)"], of: Self.program, output: ends[1])
        close(ends[1])
        // Says its port once it listens.
        var text = ""
        while !text.hasSuffix("\n") {
            var piece = [UInt8](repeating: 0, count: 64)
            let count = read(ends[0], &piece, piece.count)
            guard count > 0 else { throw POSIXError(.ECONNREFUSED) }
            text += String(decoding: piece[..<count], as: UTF8.self)
        }
        url = "https://127.0.0.1:\(text.dropLast())/"
    }

    deinit {
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    private static let script = #"""
        import json, socket, ssl, struct, sys, threading

        DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
        END_STREAM, ACK, END_HEADERS = 1, 1, 4
        certificate, key, at_a_time = sys.argv[1], sys.argv[2], int(sys.argv[3])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["h2"])


        def frame(kind, flags, stream, payload=b""):
            return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


        def serve(plain, number):
            with context.wrap_socket(plain, server_side=True) as connection:
                stream = connection.makefile("rb")
                if connection.selected_alpn_protocol() != "h2" or not stream.read(24).startswith(b"PRI * HTTP/2.0"):
                    return
                connection.sendall(frame(SETTINGS, 0, 0))
                waiting, answered = [], 0
                while head := stream.read(9):
                    payload = stream.read(int.from_bytes(head[:3], "big"))
                    kind, flags, which = head[3], head[4], int.from_bytes(head[5:], "big")
                    if kind == SETTINGS and not flags & ACK:
                        connection.sendall(frame(SETTINGS, ACK, 0))
                    elif kind == PING and not flags & ACK:
                        connection.sendall(frame(PING, ACK, 0, payload))
                    elif kind in (HEADERS, DATA) and flags & END_STREAM:
                        waiting.append(which)
                        if answered and len(waiting) < at_a_time:
                            continue
                        for which in waiting:
                            body = json.dumps({"connection": number, "stream": which}).encode()
                            # 0x88 is `:status: 200` of HPACK's static table (RFC 7541, appendix A).
                            connection.sendall(
                                frame(HEADERS, END_HEADERS, which, b"\x88") + frame(DATA, END_STREAM, which, body))
                        answered += len(waiting)
                        waiting = []


        def attempt(plain, number):
            try:
                serve(plain, number)
            except OSError:
                pass


        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        number = 0
        while True:
            plain, _ = listener.accept()
            number += 1
            threading.Thread(target=attempt, args=(plain, number), daemon=True).start()
        """#
}
