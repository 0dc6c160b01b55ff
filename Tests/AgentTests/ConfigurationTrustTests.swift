import AgentModel
import AgentTestSupport
import Foundation
import Testing

@testable import Agent

/// Whose configuration is believed: root, in the folder of somebody else, once ran what was named there.
@Suite struct ConfigurationTrustTests {
    let folder: TemporaryFolder
    private var file: String { folder.path("config.ini") }
    private static let stranger: UInt32 = 12_345
    private static var isRoot: Bool { geteuid() == 0 }

    init() throws {
        folder = try TemporaryFolder()
        for name in ["lib", "sub"] { mkdir(folder.path(name), 0o755) }
        try write("[agent]\nserver_url = http://127.0.0.1:1\npython_path = lib\nca_file = ca.pem\n", to: "config.ini")
        try write("", to: "ca.pem")
    }

    private func write(_ text: String, to name: String) throws {
        try Data(text.utf8).write(to: URL(filePath: folder.path(name)))
        chmod(folder.path(name), 0o644)
    }

    /// The codes and texts of what is wrong.
    private func problems(_ path: String? = nil) -> [ConfigurationProblem] {
        do {
            _ = try AgentConfiguration.load(file: path ?? file, environment: [:])
            return []
        } catch {
            return error.problems
        }
    }

    private func expectRefusal(_ part: String, _ path: String? = nil, sourceLocation: SourceLocation = #_sourceLocation)
    {
        let problems = problems(path)
        #expect(problems.map(\.code) == ["configuration.untrusted_file"], sourceLocation: sourceLocation)
        #expect(problems.first?.message.contains(part) == true, "\(problems)", sourceLocation: sourceLocation)
    }

    @Test func whatIsOursIsBelieved() {
        #expect(problems().isEmpty)
    }

    @Test(arguments: ["config.ini", "lib", "ca.pem"])
    func whatEverybodyMayChangeIsRefused(_ name: String) {
        chmod(folder.path(name), 0o777)
        expectRefusal("may be changed by everybody (mode 777)")
    }

    @Test(.enabled(if: ConfigurationTrustTests.isRoot), arguments: ["config.ini", "lib", "ca.pem"])
    func whatBelongsToAStrangerIsRefused(_ name: String) {
        chown(folder.path(name), Self.stranger, gid_t.max)
        expectRefusal("belongs to the user with the id 12345")
    }

    @Test func aFolderThatEverybodyMayWriteToIsRefusedUnlessItIsSticky() throws {
        rename(file, folder.path("sub/config.ini"))
        rename(folder.path("lib"), folder.path("sub/lib"))
        rename(folder.path("ca.pem"), folder.path("sub/ca.pem"))
        chmod(folder.path("sub"), 0o777)
        expectRefusal("may be changed by everybody", folder.path("sub/config.ini"))
        chmod(folder.path("sub"), 0o1777)
        #expect(problems(folder.path("sub/config.ini")).isEmpty)
    }

    @Test(.enabled(if: ConfigurationTrustTests.isRoot))
    func aStrangersLinkIsRefusedWhereverItLeads() throws {
        let link = folder.path("link.ini")
        symlink("config.ini", link)
        #expect(problems(link).isEmpty)
        lchown(link, Self.stranger, gid_t.max)
        expectRefusal("belongs to the user with the id 12345", link)
    }

    /// The file is not passed over: whoever has put it there is to be found.
    @Test(.enabled(if: ConfigurationTrustTests.isRoot))
    func theFileOfTheCurrentFolderIsNoException() {
        chown(file, Self.stranger, gid_t.max)
        let error = #expect(throws: ConfigurationError.self) {
            try AgentConfiguration.load(file: nil, environment: [:], requiresServer: false, defaultFile: file)
        }
        #expect(error?.code == "configuration.untrusted_file")
    }

    @Test(.enabled(if: ConfigurationTrustTests.isRoot))
    func rootMayUseTheFoldersOfTheAgentsUser() throws {
        mkdir(folder.path("var"), 0o755)
        mkdir(folder.path("var/state"), 0o700)
        for name in ["var", "var/state"] { chown(folder.path(name), Self.stranger, gid_t.max) }
        try write("[agent]\nserver_url = http://127.0.0.1:1\nstate_directory = var/state\n", to: "config.ini")
        #expect(problems().isEmpty)
    }
}
