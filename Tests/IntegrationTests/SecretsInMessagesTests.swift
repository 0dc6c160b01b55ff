import AgentTestSupport
import Foundation
import Subprocess
import SystemPackage
import Testing

/// What a library would ask a person for, or say of a secret, tried on the whole agent.
@Suite struct SecretsInMessagesTests {
    // OpenSSL asked for the password on the terminal or standard input, and no time limit held.
    @Test(arguments: [["run"], ["run", "--once"], ["login"]])
    func anEncryptedClientKeyIsRefusedAtTheStart(_ command: [String]) async throws {
        let folder = try TemporaryFolder()
        let made = try await Subprocess.run(
            .path("/usr/bin/openssl"),
            arguments: [
                "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-subj", "/CN=agent", "-keyout",
                folder.path("key.pem"), "-out", folder.path("certificate.pem"),
            ], output: .discarded, error: .string(limit: 1 << 16))
        #expect(made.terminationStatus.isSuccess, "\(made.standardError)")
        try """
        [agent]
        server_url = https://127.0.0.1:1
        client_certificate = certificate.pem
        client_key = key.pem
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        // Standard input stays open, and nobody writes to it.
        let script = #"/usr/bin/mkfifo input && exec 3<>input && exec "$0" "$@" <&3"#
        let output = try await AgentProcess.run(
            [], directory: folder.path,
            command: ["/bin/sh", "-c", script, AgentProcess.executable] + command)
        #expect(output.status == 1, "\(output)")
        #expect(output.stderr.contains("client_key") && output.stderr.contains("encrypted"), "\(output.stderr)")
        #expect(!output.stderr.contains("pass phrase"), "\(output.stderr)")
    }

    // libcurl's text has the whole URL where it can't read it.
    @Test(arguments: [
        "http://user:secret-of-proxy@127.0.0.1:99999", "http://user:secret-of-proxy@127.0.0.1:1",
        "gopher://user:secret-of-proxy@127.0.0.1:1",
    ])
    func theProxysPasswordIsInNoMessage(_ proxy: String) async throws {
        let folder = try TemporaryFolder()
        let settings = ["--set", "server_url=http://backend.example", "--set", "auth=no"]
        let run = try await AgentProcess.run(
            ["run", "--once", "--log-level", "debug"] + settings, environment: ["http_proxy": proxy],
            directory: folder.path)
        #expect(run.status == 1)
        #expect(run.stderr.contains("http.proxy_"), "\(run.stderr)")
        let status = try await AgentProcess.run(["status"] + settings, directory: folder.path)
        for text in [run.stdout, run.stderr, status.stdout, status.stderr] {
            #expect(!text.contains("secret-of-proxy"), "\(text)")
        }
        // Nor in anything that was written down.
        let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        for file in files {
            guard let data = FileManager.default.contents(atPath: folder.path(file)) else { continue }
            #expect(data.range(of: Data("secret-of-proxy".utf8)) == nil, "\(file)")
        }
    }
}
