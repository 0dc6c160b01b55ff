import AgentTestSupport
import Foundation
import Testing

@testable import DeviceAuthorization

/// The files at rest.
@Suite struct LoginStoreTests {
    let fixture: LoginFixture
    private var sealed: String { fixture.directory + "/login.sealed" }

    init() throws { fixture = try LoginFixture() }

    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    private func read() async throws -> LoginError? {
        do {
            _ = try await fixture.session().isLoggedIn()
            return nil
        } catch {
            return error as? LoginError
        }
    }

    @Test func filesAreForTheirOwnerAlone() async throws {
        try await fixture.session().accept(fixture.tokens())
        #expect(try mode(sealed) == 0o600)
        #expect(try mode(fixture.keyPath) == 0o600)
        #expect(try mode(fixture.directory) == 0o700)
        #expect(try mode(fixture.directory + "/login.lock") == 0o600)
        // Nothing is left of how they were made.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: fixture.directory).sorted() == [
                "login.lock", "login.sealed",
            ])
    }

    @Test func whatAWriteLeftThatWasCutOffGoesWithTheNext() async throws {
        try FileManager.default.createDirectory(atPath: fixture.directory, withIntermediateDirectories: false)
        let leftovers = [fixture.keyPath + ".new-1-2", sealed + ".new-3-4"]
        let others = [fixture.keyPath + ".old", sealed + ".damaged-1"]
        for path in leftovers + others {
            try #require(FileManager.default.createFile(atPath: path, contents: Data("hush".utf8)))
        }
        // One that another process is writing at this moment.
        let busy = fixture.keyPath + ".new-5-6"
        let file = open(busy, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        try #require(file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0)
        try await fixture.session().accept(fixture.tokens())
        for path in leftovers { #expect(!FileManager.default.fileExists(atPath: path), "\(path)") }
        for path in others + [busy] { #expect(FileManager.default.fileExists(atPath: path), "\(path)") }
        // Also once there is a key, which is not written again.
        try #require(FileManager.default.createFile(atPath: leftovers[0], contents: Data("hush".utf8)))
        try await fixture.session().accept(fixture.tokens("2"))
        #expect(!FileManager.default.fileExists(atPath: leftovers[0]))
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        var name: String
        var change: @Sendable (inout Data) -> Void
        var code = "login.damaged"
        var testDescription: String { name }
    }

    static let damages = [
        Damage(name: "emptied") { $0 = Data() },
        Damage(name: "cut in the header") { $0 = $0.prefix(20) },
        Damage(name: "cut at the end") { $0.removeLast() },
        Damage(name: "a bit of the nonce") { $0[20] ^= 1 },
        Damage(name: "a bit of the text") { $0[60] ^= 1 },
        Damage(name: "a bit of the tag") { $0[$0.count - 1] ^= 0x80 },
        Damage(name: "longer") { $0.append(0) },
        Damage(name: "something else") { $0 = Data("{\"access_token\": \"x\"}".utf8) },
        Damage(name: "a newer format", change: { $0[7] = 2 }, code: "login.newer_format"),
        Damage(name: "another key's", change: { $0[8] ^= 1 }, code: "login.wrong_key"),
    ]

    @Test(arguments: damages)
    func whatWasTamperedWithIsNotUsed(_ damage: Damage) async throws {
        try await fixture.session().accept(fixture.tokens())
        var bytes = try Data(contentsOf: URL(filePath: sealed))
        damage.change(&bytes)
        try SecretFile(path: sealed).write(Array(bytes), owner: geteuid())
        let error = try await read()
        #expect(error?.code == damage.code)
        #expect(error?.message.contains("login.sealed") == true)
        let left = try FileManager.default.contentsOfDirectory(atPath: fixture.directory)
        if damage.code == "login.damaged" {
            let setAside = try #require(left.first { $0.hasPrefix("login.sealed.damaged-") })
            #expect(error?.message.contains(setAside) == true)
            #expect(try Data(contentsOf: URL(filePath: fixture.directory + "/" + setAside)) == bytes)
            #expect(!left.contains("login.sealed"))
        } else {
            // It may be right, and what is beside it wrong.
            #expect(try Data(contentsOf: URL(filePath: sealed)) == bytes)
        }
    }

    @Test(arguments: [0, 16, 31, 33, 63, 66, 1000])
    func aKeyOfAnotherLengthIsRefused(_ count: Int) async throws {
        try await fixture.session().accept(fixture.tokens())
        try SecretFile(path: fixture.keyPath).write([UInt8](repeating: 0x61, count: count), owner: geteuid())
        #expect(try await read() == .invalidKey(path: fixture.keyPath, bytes: count))
    }

    @Test func aKeyMayBeRawOrHexadecimal() async throws {
        for key in [[UInt8](repeating: 0xAB, count: 32), Array(String(repeating: "ab", count: 32).utf8)] {
            try SecretFile(path: fixture.keyPath).write(key, owner: geteuid())
            let session = try fixture.session()
            if try await session.isLoggedIn() { continue }
            try await session.accept(fixture.tokens())
        }
        #expect(try await fixture.session().isLoggedIn())
    }

    @Test func aMissingOrOtherKeyIsNamedAndNotReplaced() async throws {
        try await fixture.session().accept(fixture.tokens())
        let key = try Data(contentsOf: URL(filePath: fixture.keyPath))
        try FileManager.default.removeItem(atPath: fixture.keyPath)
        #expect(try await read() == .missingKey(path: fixture.keyPath, sealed: sealed))
        await #expect(throws: LoginError.self) { try await fixture.session().accept(fixture.tokens("2")) }
        #expect(!FileManager.default.fileExists(atPath: fixture.keyPath))
        try SecretFile(path: fixture.keyPath).write([UInt8](repeating: 7, count: 32), owner: geteuid())
        #expect(try await read() == .wrongKey(path: fixture.keyPath, sealed: sealed))
        try SecretFile(path: fixture.keyPath).write(Array(key), owner: geteuid())
        #expect(try await fixture.session().isLoggedIn())
    }

    @Test func theKeyOfSystemdComesFirst() async throws {
        let credentials = fixture.folder.path("credentials")
        try FileManager.default.createDirectory(atPath: credentials, withIntermediateDirectories: false)
        let path = credentials + "/" + KeySource.credentialName
        try SecretFile(path: path).write([UInt8](repeating: 3, count: 32), owner: geteuid())
        chmod(path, 0o440)
        try await fixture.session(credentials: credentials).accept(fixture.tokens())
        #expect(!FileManager.default.fileExists(atPath: fixture.keyPath))
        #expect(try await fixture.session(credentials: credentials).isLoggedIn())
        chmod(path, 0o444)
        await #expect(throws: LoginError.self) { try await fixture.session(credentials: credentials).isLoggedIn() }
    }

    enum Which: String, Sendable, CaseIterable { case key, sealed }

    private func path(_ which: Which) -> String { which == .key ? fixture.keyPath : sealed }

    @Test(arguments: Which.allCases, [0o640, 0o604, 0o660, 0o644])
    func widerModesAreRefused(_ which: Which, _ mode: Int) async throws {
        try await fixture.session().accept(fixture.tokens())
        chmod(path(which), mode_t(mode))
        let error = try await read()
        #expect(error?.code == "login.unsafe_file")
        #expect(error?.message.contains(path(which)) == true)
        #expect(error?.message.contains(String(mode, radix: 8)) == true)
    }

    @Test(arguments: Which.allCases)
    func symbolicLinksAreRefused(_ which: Which) async throws {
        try await fixture.session().accept(fixture.tokens())
        let path = path(which)
        try FileManager.default.moveItem(atPath: path, toPath: path + ".real")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".real")
        let error = try await read()
        #expect(error == .unsafeFile(path: path, problem: "it is a symbolic link"))
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give files away"), arguments: Which.allCases)
    func filesOfOthersAreRefused(_ which: Which) async throws {
        try await fixture.session().accept(fixture.tokens())
        chown(path(which), 12_345, gid_t.max)
        let error = try await read()
        #expect(error?.code == "login.unsafe_file")
        #expect(error?.message.contains("12345") == true)
    }

    @Test(.enabled(if: geteuid() == 0, "only root can give files away"))
    func whatRootMakesIsForTheAgentsUser() async throws {
        try FileManager.default.createDirectory(atPath: fixture.directory, withIntermediateDirectories: false)
        chown(fixture.directory, 12_345, gid_t.max)
        try await fixture.session().accept(fixture.tokens())
        for path in [sealed, fixture.keyPath, fixture.directory + "/login.lock"] {
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int == 12_345)
        }
        #expect(try await fixture.session().isLoggedIn())
    }

    struct TokenFile: Sendable, CustomTestStringConvertible {
        var text: String
        var code: String?
        var testDescription: String { String(text.prefix(30)) }
    }

    @Test(arguments: [
        TokenFile(text: "a-token\n"), TokenFile(text: #"{"access_token": "a-token", "expires_in": 60}"#),
        TokenFile(text: "", code: "login.token_file"), TokenFile(text: "two words", code: "login.invalid_token"),
        TokenFile(text: #"{"error": "invalid_grant"}"#, code: "login.token_file"),
        TokenFile(text: #"{"token": "x"}"#, code: "login.token_file"),
        TokenFile(text: "{", code: "login.token_file"),
        TokenFile(text: String(repeating: "x", count: 100_000), code: "login.invalid_token"),
    ])
    func tokensFromElsewhere(_ example: TokenFile) throws {
        do {
            let tokens = try TokenSet.parse(Data(example.text.utf8), from: "f", now: .now)
            #expect(tokens.accessToken == "a-token" && example.code == nil)
        } catch {
            #expect(error.code == example.code)
        }
    }

    @Test func aTokenFileMustBeItsOwnersAlone() throws {
        let path = fixture.folder.path("token")
        try SecretFile(path: path).write(Array("a-token".utf8), owner: geteuid())
        #expect(try TokenSet.read(file: path, now: .now).accessToken == "a-token")
        chmod(path, 0o644)
        #expect(throws: LoginError.self) { try TokenSet.read(file: path, now: .now) }
        #expect(throws: LoginError.tokenFile(path: path + "x", problem: "there is no such file")) {
            try TokenSet.read(file: path + "x", now: .now)
        }
    }
}
