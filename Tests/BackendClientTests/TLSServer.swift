import AgentTestSupport
import Foundation

/// One `openssl s_server` on a free port, with a certificate that signs itself.
final class TLSServer: Sendable {
    static let program = "/usr/bin/openssl"

    let url: String
    let certificate: String
    let key: String
    private let folder: TemporaryFolder
    private let process: pid_t

    /// - Parameters:
    ///   - newKey: what `openssl req` makes.
    ///   - options: more of `openssl s_server`.
    init(
        subjectAlternativeName: String, wantsClientCertificate: Bool = false,
        newKey: [String] = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], options: [String] = []
    ) throws {
        folder = try TemporaryFolder()
        certificate = folder.path("certificate.pem")
        key = folder.path("key.pem")
        var status: Int32 = 0
        let maker = try Self.start(
            [
                "req", "-x509", "-newkey",
            ] + newKey + [
                "-nodes", "-days", "2", "-subj", "/CN=runbook test", "-addext",
                "subjectAltName=\(subjectAlternativeName)", "-keyout", key,
                "-out",
                certificate,
            ], output: -1)
        waitpid(maker, &status, 0)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw POSIXError(.EMFILE) }
        defer { close(ends[0]) }
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        let clientArguments = ["-Verify", "1", "-verify_return_error", "-CAfile", certificate]
        process = try Self.start(
            ["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", certificate, "-key", key] + options
                + (wantsClientCertificate ? clientArguments : []), output: ends[1])
        close(ends[1])
        // Says where it listens once it does.
        var text = ""
        while !text.contains("ACCEPT 127.0.0.1:") || !text.hasSuffix("\n") {
            var piece = [UInt8](repeating: 0, count: 4096)
            let count = read(ends[0], &piece, piece.count)
            guard count > 0 else { throw POSIXError(.ECONNREFUSED) }
            text += String(decoding: piece[..<count], as: UTF8.self)
        }
        let line = text.split(separator: "\n").first { $0.hasPrefix("ACCEPT 127.0.0.1:") } ?? ""
        url = "https://" + line.dropFirst("ACCEPT ".count) + "/"
    }

    deinit {
        kill(process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    /// The key, encrypted with a password.
    func encryptedKey() throws -> String {
        let path = folder.path("encrypted.pem")
        var status: Int32 = 0
        waitpid(
            try Self.start(
                ["pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", path], output: -1), &status, 0)
        return path
    }

    /// Not through Foundation's `Process`, whose run loops don't get on with tests that run side by side.
    static func start(_ arguments: [String], of program: String = program, output: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        if output < 0 {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        } else {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
        }
        var pointers: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process = pid_t()
        let status = posix_spawn(&process, program, &actions, nil, &pointers, environ)
        guard status == 0 else { throw POSIXError(POSIXErrorCode(rawValue: status) ?? .EIO) }
        return process
    }
}
