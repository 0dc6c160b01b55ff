import ArgumentParser
import Diagnostics
import Foundation

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Keep a backend's address and its administration token.",
        discussion: """
            Asks for what isn't given, checks both, and keeps them in ~/.config/runbook/login.json, which only its owner
            can read. The token is the one that "runbook-backend serve --init" printed; without a terminal it is read
            from standard input.

            EXAMPLE
              runbook login https://backend.example.org
            """)

    @Argument(help: "The backend's address.")
    var url: String?

    @Option(name: .long, help: ArgumentHelp("A PEM bundle that is trusted instead of the system's.", valueName: "file"))
    var caFile: String?

    func run() async throws {
        guard let url = url ?? Screen.ask("Address: "), !url.isEmpty else {
            throw ClientError.notLoggedIn(missing: "the backend's address")
        }
        let token = Screen.isInteractive ? Screen.ask("Administration token: ", hidingAnswer: true) : readLine()
        guard let token = token?.trimmingCharacters(in: .whitespaces), !token.isEmpty else {
            throw ClientError.notLoggedIn(missing: "the administration token")
        }
        let login = SavedLogin(url: url, token: token, caFile: caFile)
        let client = try AdministrationClient(login)
        let agents = try await client.all("agents", atMost: 1, as: AgentRow.self)
        let path = SavedLogin.path(ProcessInfo.processInfo.environment)
        try login.save(to: path)
        Screen.writeError("logged in to \(url)\(agents.isEmpty ? ", which has no hosts yet" : ""); kept in \(path)")
    }
}
