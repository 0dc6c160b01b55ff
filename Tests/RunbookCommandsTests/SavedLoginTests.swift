import AgentTestSupport
import Foundation
import Testing

@testable import RunbookCommands

@Suite struct SavedLoginTests {
    @Test func onlyItsOwnerCanReadIt() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("config/runbook/login.json")
        #expect(try SavedLogin.load(from: path) == nil)
        let login = SavedLogin(url: "https://backend.example", token: "secret", caFile: nil)
        for _ in 0..<2 { try login.save(to: path) }
        #expect(try SavedLogin.load(from: path) == login)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("config/runbook")) == ["login.json"])
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        let error = #expect(throws: ClientError.self) { try SavedLogin.load(from: path) }
        #expect(error?.code == "client.storage" && error?.message.contains("secret") == false)
    }

    @Test(arguments: [
        (["HOME": "/home/ada"], "/home/ada/.config/runbook/login.json"),
        (["HOME": "/home/ada", "XDG_CONFIG_HOME": "/etc/ada"], "/etc/ada/runbook/login.json"),
        // The specification says to ignore what is relative.
        (["HOME": "/home/ada", "XDG_CONFIG_HOME": "ada"], "/home/ada/.config/runbook/login.json"),
    ])
    func itLiesWhereConfigurationLies(_ environment: [String: String], _ path: String) {
        #expect(SavedLogin.path(environment) == path)
    }
}
