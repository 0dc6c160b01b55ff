import AgentModel
import AgentTestSupport
import Foundation
import Sandbox
import Testing

/// What a plugin asks for against what the host allows.
@Suite struct SandboxPolicyTests {
    private var generous: SandboxPolicy {
        var policy = SandboxPolicy()
        policy.network = .full
        policy.api = .full
        policy.limits[.memory] = 1 << 30
        policy.cpuTime = .seconds(60)
        return policy
    }

    @Test func whatAsksForNothingGetsWhatTheHostAllows() {
        let (policy, refused) = generous.narrowed(by: SandboxRequest([:]))
        #expect(policy == generous)
        #expect(refused.isEmpty)
    }

    @Test func lessIsGranted() {
        let (policy, refused) = generous.narrowed(
            by: SandboxRequest([
                "network": "dns,tcp:443", "memory": 67_108_864, "scratch": 2_097_152, "processes": 9,
                "cpu_seconds": 1.5, "programs": false, "api": "results",
            ]))
        #expect(policy.network.description == "dns,tcp:443")
        #expect((policy.limits[.memory], policy.limits[.scratch], policy.limits[.processes]) == (64 << 20, 2 << 20, 9))
        #expect(policy.cpuTime == .milliseconds(1500))
        #expect(!policy.startsPrograms)
        #expect(policy.api == .results)
        #expect(refused.isEmpty)
    }

    @Test func moreIsNotGrantedAndSaid() {
        var host = SandboxPolicy()
        host.cpuTime = .seconds(5)
        host.startsPrograms = false
        let (policy, refused) = host.narrowed(
            by: SandboxRequest([
                "read_paths": ["/etc/shadow"], "write_paths": ["/"], "network": "full", "memory": .integer(1 << 40),
                "scratch": .unsigned(.max), "processes": 100_000, "cpu_seconds": 3600, "programs": true, "api": "full",
            ]))
        #expect(policy == host)
        #expect(Set(refused.map(\.setting)) == Set(SandboxRequest.fieldNames))
        #expect(refused.filter(\.misleadsScans).map(\.setting) == ["network"])
        #expect(refused.allSatisfy { $0.sentence.contains("\"\($0.asked)\"") })
    }

    @Test func withoutALimitOfTheHostTheAskedOneHolds() {
        let (policy, refused) = SandboxPolicy().narrowed(by: SandboxRequest(["cpu_seconds": 10]))
        #expect(policy.cpuTime == .seconds(10))
        #expect(refused.isEmpty)
    }

    @Test(arguments: ["read_paths", "network", "programs", "api"])
    func whatCannotBeReadNeverWidens(_ field: String) {
        var host = generous
        host.readPaths = ["/usr/share"]
        let (policy, _) = host.narrowed(by: SandboxRequest(.object([field: ["unreadable": 1]])))
        switch field {
        case "read_paths": #expect(policy.readPaths.isEmpty)
        case "network": #expect(policy.network == .none)
        case "programs": #expect(!policy.startsPrograms)
        default: #expect(policy.api == .none)
        }
    }

    // MARK: Paths

    struct Ask: Sendable, CustomTestStringConvertible {
        /// Within the temporary folder, which has `allowed/inner`, `allowedX`, `outside`, `writable`, and links.
        var path: String
        var granted: String?

        init(_ path: String, granted: String? = nil) { (self.path, self.granted) = (path, granted) }

        var testDescription: String { path }
    }

    @Test(arguments: [
        Ask("/allowed", granted: "/allowed"), Ask("/allowed/inner", granted: "/allowed/inner"),
        Ask("//allowed//inner/", granted: "/allowed/inner"), Ask("/allowed/not/yet", granted: "/allowed/not/yet"),
        Ask("/writable/x", granted: "/writable/x"), Ask("/allowed/link-inside", granted: "/allowed/inner"),
        Ask("/allowed/../outside"), Ask("/allowed/./inner"), Ask("/allowedX"), Ask("/allow"), Ask("/outside"),
        Ask("/"), Ask("/allowed/link-outside"), Ask("/allowed/link-outside/deeper"), Ask("/allowed/link-nowhere"),
        Ask("/allowed/link-nowhere/deeper"), Ask("/allowed/link-around"), Ask("/outside/link-back"),
    ])
    func pathsAreGrantedWithinAllowedOnes(_ ask: Ask) throws {
        let folder = try tree()
        var host = SandboxPolicy()
        host.readPaths = [folder.path("allowed")]
        host.writePaths = [folder.path("writable")]
        let (policy, _) = host.narrowed(
            by: SandboxRequest(["read_paths": [.string(folder.path + ask.path)], "write_paths": []]))
        #expect(policy.readPaths == (ask.granted.map { [folder.path + $0] } ?? []))
        let (writing, refused) = host.narrowed(
            by: SandboxRequest(["write_paths": [.string(folder.path + ask.path)], "read_paths": []]))
        #expect(writing.writePaths == (ask.path.hasPrefix("/writable") ? [folder.path + ask.path] : []))
        #expect(refused.count <= 1)
    }

    private func tree() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        for name in ["allowed/inner", "allowedX", "outside/deeper", "writable"] {
            try FileManager.default.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
        }
        let links = [
            "allowed/link-inside": "inner", "allowed/link-outside": "../outside", "allowed/link-nowhere": "absent",
            "allowed/link-around": "link-around", "outside/link-back": "../allowed/inner",
        ]
        for (link, target) in links {
            try FileManager.default.createSymbolicLink(atPath: folder.path(link), withDestinationPath: target)
        }
        return folder
    }

    /// The configuration follows the links of its paths once. One that is there later is a plugin's.
    @Test func anAllowedFolderThatHasBecomeALinkGrantsNothing() throws {
        let folder = try tree()
        try FileManager.default.createSymbolicLink(atPath: folder.path("alias"), withDestinationPath: "outside")
        var host = SandboxPolicy()
        host.readPaths = [folder.path("alias")]
        for name in ["alias", "alias/deeper"] {
            let asked = SandboxRequest(["read_paths": [.string(folder.path(name))]])
            #expect(host.narrowed(by: asked).policy.readPaths == [])
            #expect(host.narrowed(by: asked).refused.count == 1)
        }
    }

    struct Resolution: Sendable, CustomTestStringConvertible {
        var path: String
        var leadsTo: String?
        var links: [String] = []
        var testDescription: String { path }
    }

    @Test(arguments: [
        Resolution(path: "/allowed/inner", leadsTo: "/allowed/inner"),
        Resolution(path: "/allowed/link-inside", leadsTo: "/allowed/inner", links: ["/allowed/link-inside"]),
        Resolution(
            path: "/allowed/link-outside/deeper", leadsTo: "/outside/deeper", links: ["/allowed/link-outside"]),
        Resolution(path: "/outside/link-back/new/x", leadsTo: "/allowed/inner/new/x", links: ["/outside/link-back"]),
        Resolution(path: "/not/there", leadsTo: "/not/there"),
        Resolution(path: "/allowed/link-nowhere"), Resolution(path: "/allowed/link-nowhere/x"),
        Resolution(path: "/allowed/link-around"), Resolution(path: "/allowed/link-around/x"),
    ])
    func linksAreNamed(_ expected: Resolution) throws {
        let folder = try tree()
        let root = try #require(realpath(folder.path, nil).map { String(cString: $0) })
        let found = SandboxPath.resolve(root + expected.path)
        #expect(found?.path.description == expected.leadsTo.map { root + $0 })
        #expect((found?.links.map(\.path.description) ?? []) == expected.links.map { root + $0 })
        if let found { #expect(found.links.allSatisfy { $0.owner == geteuid() }) }
    }

    // A plugin could put a link in the place of what lies in a folder that it may change.
    @Test func whatLiesInAWritableFolderIsNoRuleOfItsOwn() {
        var policy = SandboxPolicy()
        policy.readPaths = ["/srv/w/inner", "/srv/w", "/srv/r", "/srv/wx"]
        policy.writePaths = ["/srv/w", "/srv/w/inner", "/srv/other"]
        policy.dropNestedPaths()
        #expect(policy.readPaths == ["/srv/r", "/srv/wx"])
        #expect(policy.writePaths == ["/srv/w", "/srv/other"])
    }
}
