import AgentModel
import AgentTestSupport
import BackendClient
import Cryptography
import Foundation
import Logging
import PluginStore
import Testing

@Suite struct PluginStoreTests {
    let server: ScriptedServer
    let folder: TemporaryFolder
    let directory: String
    let store: PluginStore
    let id: PluginID

    init() throws {
        server = try ScriptedServer()
        folder = try TemporaryFolder()
        directory = folder.path("plugins")
        id = try PluginID("p1")
        store = try PluginStore(path: directory, backend: try Self.backend(server), logger: Logger(label: "test"))
    }

    private static func backend(_ server: ScriptedServer) throws -> BackendClient {
        try BackendClient(
            serverURL: server.url, http: HTTPClient(HTTPClient.Configuration(proxies: ProxySettings())))
    }

    static let script = "class Plugin:\r\n    def greet(self):\r\n        return 'é'  # no newline at the end"

    private func document(
        script: String = Self.script, hash: String? = nil,
        commands: [String: CommandDocument] = ["p1.greet": CommandDocument(id: nil, name: nil, function: "greet")]
    ) -> PluginDocument {
        PluginDocument(
            id: "p1", name: "P", version: .string("v0.0.1"), description: nil, script: script,
            hash: hash ?? SHA512.hash(script.utf8).hex, commands: commands)
    }

    private func serve(_ document: PluginDocument) throws {
        let text = String(decoding: try JSONEncoder().encode(Envelope(data: document)), as: UTF8.self)
        server.route("/api/agent/plugin/\(document.id)", .json(text))
    }

    private func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: directory + "/" + name)))
    }

    private func overwrite(_ name: String, _ text: String) throws {
        let handle = try FileHandle(forWritingTo: URL(filePath: directory + "/" + name))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
    }

    private func mode(_ path: String) -> UInt32 {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt32(status.st_mode) : 0
    }

    // MARK: Fetch and keep

    @Test func aPluginIsFetchedOnceAndKeptToTheByte() async throws {
        try serve(document())
        let plugin = try await store.plugin(id)
        #expect(plugin.script == Array(Self.script.utf8))
        #expect(try bytes("p1.py") == Array(Self.script.utf8))
        #expect(plugin.digest == SHA512.hash(Self.script.utf8))
        #expect(plugin.path == directory + "/p1.py")
        #expect(plugin.document == document())
        #expect(mode(directory) == S_IFDIR | 0o700)
        #expect(mode(directory + "/p1.py") == S_IFREG | 0o600)
        #expect(mode(directory + "/p1.json") == S_IFREG | 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == ["p1.json", "p1.py"])
        let again = try await store.plugin(id)
        #expect(again.identity == plugin.identity)
        #expect(server.requests.count == 1)
    }

    @Test func forceRedownloadFetchesButWritesOnlyWhatIsNew() async throws {
        try serve(document())
        let first = try await store.plugin(id)
        let same = try await store.plugin(id, forceRedownload: true)
        #expect(same.identity == first.identity)
        try serve(document(script: "class Plugin: pass"))
        let other = try await store.plugin(id, forceRedownload: true)
        #expect(other.script == Array("class Plugin: pass".utf8))
        #expect(try bytes("p1.py") == Array("class Plugin: pass".utf8))
        #expect(server.requests.count == 3)
        await #expect(throws: PluginStoreError.self) { try await store.recheck(first) }
    }

    @Test func aHashInCapitalsIsFine() async throws {
        try serve(document(hash: SHA512.hash(Self.script.utf8).hex.uppercased()))
        _ = try await store.plugin(id)
        _ = try store.verify(id)
    }

    struct BadHash: Sendable, CustomTestStringConvertible {
        var hash: String
        var code: String
        var testDescription: String { "\(hash.prefix(8)) \(code)" }
    }

    @Test(arguments: [
        BadHash(hash: SHA512.hash("other".utf8).hex, code: "plugin.hash_mismatch"),
        BadHash(hash: "", code: "plugin.invalid_hash"), BadHash(hash: "abc", code: "plugin.invalid_hash"),
        BadHash(hash: String(repeating: "z", count: 128), code: "plugin.invalid_hash"),
    ])
    func aDocumentWithAWrongHashIsRefusedAndNotStored(bad: BadHash) async throws {
        try serve(document(hash: bad.hash))
        let error = await #expect(throws: PluginStoreError.self) { try await store.plugin(id) }
        #expect(error?.code == bad.code)
        #expect(error?.message.contains("\"p1\"") == true)
        #expect(try await store.storedIDs().isEmpty)
        #expect(server.requests.count == 1)
    }

    @Test func aBadFunctionTakesOutItsCommandAlone() async throws {
        let functions = ["a": "greet", "b": "__init__", "c": "_x", "d": "", "e": "x y", "f": "grüße"]
        try serve(document(commands: functions.mapValues { CommandDocument(id: nil, name: nil, function: $0) }))
        let plugin = try await store.plugin(id)
        #expect(plugin.commands.keys.sorted() == ["a", "f"])
        #expect(plugin.problems.map(\.code) == Array(repeating: "plugin.invalid_function", count: 4))
        #expect(plugin.problems.first?.message.contains("__init__") == true)
    }

    @Test func noCommandsAreFine() async throws {
        let hash = SHA512.hash("class Plugin: pass".utf8).hex
        server.route(
            "/api/agent/plugin/p1",
            .json(
                #"{"data": {"id": "p1", "name": "P", "script": "class Plugin: pass", "commands": [], "hash": "\#(hash)"}}"#
            ))
        #expect(try await store.plugin(id).commands.isEmpty)
        #expect(try store.verify(id).problems.isEmpty)
    }

    @Test func theBackendsErrorsKeepTheirCode() async throws {
        var other = document()
        other.id = "p2"
        let text = String(decoding: try JSONEncoder().encode(Envelope(data: other)), as: UTF8.self)
        server.route("/api/agent/plugin/p1", .json(text))
        let error = await #expect(throws: PluginStoreError.self) { try await store.plugin(id) }
        #expect(error?.code == "plugin.id_mismatch")
        let missing = await #expect(throws: PluginStoreError.self) { try await store.plugin(PluginID("p3")) }
        #expect(missing?.code == "backend.status")
    }

    // MARK: Damage on disk

    struct Damage: Sendable, CustomTestStringConvertible {
        var name: String
        var code: String
        var make: @Sendable (_ directory: String, _ outside: String) throws -> Void
        var testDescription: String { name }
    }

    private static func link(_ name: String) -> @Sendable (String, String) throws -> Void {
        { directory, outside in
            // The link's target has the right content, and is not followed all the same.
            try FileManager.default.moveItem(atPath: directory + "/" + name, toPath: outside)
            try FileManager.default.createSymbolicLink(atPath: directory + "/" + name, withDestinationPath: outside)
        }
    }

    private static func write(_ name: String, _ text: String) -> @Sendable (String, String) throws -> Void {
        { directory, _ in try Data(text.utf8).write(to: URL(filePath: directory + "/" + name)) }
    }

    private static func replace(_ name: String, _ make: @escaping @Sendable (String) -> Int32)
        -> @Sendable (String, String) throws -> Void
    {
        { directory, _ in
            unlink(directory + "/" + name)
            guard make(directory + "/" + name) == 0 else { throw POSIXError(.EIO) }
        }
    }

    static let damages = [
        Damage(name: "script changed", code: "plugin.hash_mismatch", make: write("p1.py", "evil()")),
        Damage(
            name: "script with its line ends changed", code: "plugin.hash_mismatch",
            make: write("p1.py", script.replacingOccurrences(of: "\r\n", with: "\n"))),
        Damage(name: "script gone", code: "plugin.not_stored", make: { directory, _ in unlink(directory + "/p1.py") }),
        Damage(
            name: "document gone", code: "plugin.not_stored", make: { directory, _ in unlink(directory + "/p1.json") }),
        Damage(name: "document no JSON", code: "plugin.invalid_document", make: write("p1.json", "{\"id\"")),
        Damage(
            name: "document of another", code: "plugin.invalid_document",
            make: write(
                "p1.json", #"{"id": "p2", "name": "", "script": "", "hash": "", "commands": {}}"#)),
        Damage(name: "link as script", code: "store.unsafe_file", make: link("p1.py")),
        Damage(name: "link as document", code: "store.unsafe_file", make: link("p1.json")),
        Damage(name: "link to nowhere", code: "store.unsafe_file", make: replace("p1.py") { symlink("/nowhere", $0) }),
        Damage(name: "FIFO", code: "store.unsafe_file", make: replace("p1.py") { mkfifo($0, 0o600) }),
        Damage(
            name: "others may write", code: "store.unsafe_file",
            make: { directory, _ in
                chmod(directory + "/p1.py", 0o666)
            }),
    ]

    @Test(arguments: damages) func damageIsFetchedAgainOnce(damage: Damage) async throws {
        try serve(document())
        let before = try await store.plugin(id)
        let outside = folder.path("outside")
        try damage.make(directory, outside)
        let error = #expect(throws: PluginStoreError.self) { try store.verify(id) }
        #expect(error?.code == damage.code, "\(String(describing: error))")
        let plugin = try await store.plugin(id)
        #expect(plugin.script == before.script)
        #expect(server.requests.count == 2)
        #expect(mode(directory + "/p1.py") == S_IFREG | 0o600)
        #expect(mode(directory + "/p1.json") == S_IFREG | 0o600)
        _ = try store.verify(id)
        // What a link pointed to was not written.
        if mode(outside) != 0 { #expect(mode(outside) == S_IFREG | 0o600) }
        #expect(mode("/nowhere") == 0)
    }

    @Test func aDirectoryInTheWayIsAClearError() async throws {
        try serve(document())
        mkdir(directory + "/p1.py", 0o700)
        let error = await #expect(throws: PluginStoreError.self) { try await store.plugin(id) }
        #expect(error?.code == "store.disk")
        #expect(error?.message.contains("Is a directory") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["p1.py"])
    }

    // MARK: Before each run

    @Test func anUntouchedFilePasses() async throws {
        try serve(document())
        let plugin = try await store.plugin(id)
        for _ in 0..<1000 { try await store.recheck(plugin) }
    }

    @Test func theSameBytesInAnotherFilePassAndAreRemembered() async throws {
        try serve(document())
        let plugin = try await store.plugin(id)
        let before = plugin.identity
        let copy = directory + "/copy"
        try Data(plugin.script).write(to: URL(filePath: copy))
        chmod(copy, 0o600)
        rename(copy, plugin.path)
        try await store.recheck(plugin)
        #expect(plugin.identity != before)
        let remembered = plugin.identity
        try await store.recheck(plugin)
        #expect(plugin.identity == remembered)
    }

    struct Swap: Sendable, CustomTestStringConvertible {
        var name: String
        var make: @Sendable (_ path: String) throws -> Void
        var testDescription: String { name }
    }

    @Test(arguments: [
        Swap(name: "written in place", make: { try Data("evil()".utf8).write(to: URL(filePath: $0)) }),
        Swap(
            name: "same size",
            make: { path in
                var bytes = try Data(contentsOf: URL(filePath: path))
                bytes[bytes.startIndex] = 0x20
                try bytes.write(to: URL(filePath: path))
            }),
        Swap(
            name: "same size and time",
            make: { path in
                var status = stat()
                lstat(path, &status)
                var bytes = try Data(contentsOf: URL(filePath: path))
                bytes[bytes.startIndex] = 0x20
                try bytes.write(to: URL(filePath: path), options: .atomic)
                chmod(path, 0o600)
                var times = [status.st_atim, status.st_mtim]
                utimensat(AT_FDCWD, path, &times, 0)
            }),
        Swap(name: "gone", make: { unlink($0) }),
        Swap(
            name: "a link to the same bytes",
            make: { path in
                rename(path, path + ".moved")
                symlink(path + ".moved", path)
            }),
    ])
    func aSwappedFileTakesThePluginOut(swap: Swap) async throws {
        try serve(document())
        let plugin = try await store.plugin(id)
        try swap.make(plugin.path)
        for _ in 0..<2 {
            let error = await #expect(throws: PluginStoreError.self) { try await store.recheck(plugin) }
            #expect(error?.code == "plugin.file_changed")
        }
        // The verified bytes are those of before in any case.
        #expect(plugin.script == Array(Self.script.utf8))
    }

    @Test func recheckIsForManyThreads() async throws {
        try serve(document())
        let plugin = try await store.plugin(id)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<8 {
                group.addTask {
                    for _ in 0..<200 {
                        if index == 0 { chmod(plugin.path, 0o600) }
                        try await store.recheck(plugin)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    // MARK: What is stored

    @Test func idsAreListedAndRemoved() async throws {
        try serve(document())
        _ = try await store.plugin(id)
        try Data().write(to: URL(filePath: directory + "/.hidden.json"))
        try Data().write(to: URL(filePath: directory + "/not an id.json"))
        try Data().write(to: URL(filePath: directory + "/alone.py"))
        #expect(try await store.storedIDs() == [id])
        #expect(try store.document(id) == document())
        try await store.remove(id)
        try await store.remove(id)
        #expect(try await store.storedIDs().isEmpty)
        #expect(mode(directory + "/p1.py") == 0)
        let error = #expect(throws: PluginStoreError.self) { try store.verify(id) }
        #expect(error?.code == "plugin.not_stored")
    }

    @Test func itWorksWithoutABackend() async throws {
        try serve(document())
        _ = try await store.plugin(id)
        server.stop()
        let offline = try PluginStore(path: directory, backend: nil, logger: Logger(label: "test"))
        #expect(try await offline.storedIDs() == [id])
        #expect(try await offline.plugin(id, forceRedownload: true).script == Array(Self.script.utf8))
        let error = await #expect(throws: PluginStoreError.self) { try await offline.plugin(PluginID("p2")) }
        #expect(error?.code == "plugin.not_stored")
    }
}
