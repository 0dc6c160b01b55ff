import AgentModel
import ArgumentParser
import Diagnostics
import Foundation
import ReferenceBackend

struct DeviceListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the hosts that wait for approval.",
        discussion: """
            EXAMPLE
              runbook-backend device list --data ./backend-data
            """)

    @OptionGroup var storage: StorageOptions

    @Flag(help: "Print one JSON array.")
    var json = false

    func run() async throws {
        let logins = try await storage.withExisting { service in
            var logins: [DeviceLogin] = []
            var cursor: Int64?
            repeat {
                let page = try await service.deviceLogins(
                    try PageRequest(limit: PageRequest.maximumLimit, cursor: cursor))
                logins += page.elements
                cursor = page.nextCursor
            } while cursor != nil
            return logins
        }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            StandardOutput.write(String(decoding: try encoder.encode(logins), as: UTF8.self))
        } else if logins.isEmpty {
            StandardError.write("No host waits.")
        } else {
            for login in logins {
                StandardOutput.write(
                    "\(login.userCode)  \(login.state.rawValue)  from \(login.address)\(Self.host(of: login))  client "
                        + "\(quoted(login.clientID))  until \(RFC3339.string(from: login.expiresAt))")
            }
        }
    }

    /// As it calls itself.
    private static func host(of login: DeviceLogin) -> String {
        login.hostName.map { "  host \(quoted($0))" } ?? ""
    }
}
