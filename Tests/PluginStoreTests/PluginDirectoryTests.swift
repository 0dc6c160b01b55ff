import AgentModel
import AgentTestSupport
import BackendClient
import Cryptography
import Foundation
import Logging
import PluginStore
import Testing

@Suite struct PluginDirectoryTests {
    let folder: TemporaryFolder
    let directory: String
    let backend: BackendClient

    init() throws {
        folder = try TemporaryFolder()
        directory = folder.path("plugins")
        backend = try BackendClient(serverURL: "http://127.0.0.1:9", http: HTTPClient())
    }

    private func open() throws -> PluginStore {
        try PluginStore(path: directory, backend: backend, logger: Logger(label: "test"))
    }

    private func mode(_ path: String) -> UInt32 {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt32(status.st_mode) & 0o7777 : 0
    }

    @Test func missingFoldersAreMadeForTheOwnerAlone() throws {
        let deep = folder.path("a/b/plugins")
        _ = try PluginStore(path: deep, backend: backend, logger: Logger(label: "test"))
        #expect(mode(deep) == 0o700)
        #expect(mode(folder.path("a")) == 0o700)
    }

    @Test func aReadableFolderIsTightened() throws {
        mkdir(directory, 0o700)
        try Data().write(to: URL(filePath: directory + "/x.py"))
        chmod(directory, 0o755)
        _ = try open()
        #expect(mode(directory) == 0o700)
    }

    @Test(arguments: [0o777, 0o770, 0o702] as [mode_t]) func aWritableFolderMustBeEmpty(mode: mode_t) throws {
        mkdir(directory, 0o700)
        chmod(directory, mode)
        _ = try open()
        #expect(self.mode(directory) == 0o700)
        try Data().write(to: URL(filePath: directory + "/planted.json"))
        chmod(directory, mode)
        let error = #expect(throws: PluginStoreError.self) { try open() }
        #expect(error?.code == "store.unsafe_directory")
    }

    @Test(.enabled(if: geteuid() == 0)) func anotherOwnersFolderIsRefused() throws {
        mkdir(directory, 0o700)
        chown(directory, 65534, 65534)
        let error = #expect(throws: PluginStoreError.self) { try open() }
        #expect(error?.code == "store.unsafe_directory")
        #expect(error?.message.contains("65534") == true)
    }

    @Test(arguments: ["", "/"]) func aLinkOfOurOwnIsFollowed(ending: String) throws {
        mkdir(folder.path("elsewhere"), 0o755)
        symlink("elsewhere", directory)
        _ = try PluginStore(path: directory + ending, backend: backend, logger: Logger(label: "test"))
        #expect(mode(folder.path("elsewhere")) == 0o700)
    }

    @Test(.enabled(if: geteuid() == 0), arguments: ["", "/"]) func aLinkOfAnotherUserIsRefused(ending: String) throws {
        mkdir(folder.path("elsewhere"), 0o755)
        symlink("elsewhere", directory)
        lchown(directory, 65534, 65534)
        let error = #expect(throws: PluginStoreError.self) {
            try PluginStore(path: directory + ending, backend: backend, logger: Logger(label: "test"))
        }
        #expect(error?.code == "store.unsafe_directory")
        #expect(error?.message.contains("symbolic link of user 65534") == true)
        #expect(mode(folder.path("elsewhere")) == 0o755)
    }

    @Test(.enabled(if: geteuid() != 0, "root may write everywhere")) func aReadOnlyFolderIsAClearError() throws {
        let parent = folder.path("readonly")
        mkdir(parent, 0o500)
        let error = #expect(throws: PluginStoreError.self) {
            try PluginStore(path: parent + "/plugins", backend: backend, logger: Logger(label: "test"))
        }
        #expect(error?.code == "store.disk")
        #expect(error?.message.contains("Permission denied") == true)
    }

    @Test func aFileInTheWayIsAClearError() throws {
        try Data().write(to: URL(filePath: directory))
        let error = #expect(throws: PluginStoreError.self) { try open() }
        #expect(error?.code == "store.disk")
        #expect(error?.message.contains("Not a directory") == true)
    }

    @Test func leftoversAreRemovedAndPlantedLinksNotFollowed() throws {
        let outside = folder.path("outside")
        try Data("keep".utf8).write(to: URL(filePath: outside))
        mkdir(directory, 0o700)
        try Data().write(to: URL(filePath: directory + "/.tmp-0123-p1.py"))
        try FileManager.default.createSymbolicLink(
            atPath: directory + "/.tmp-4567-p1.json", withDestinationPath: outside)
        _ = try open()
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
        #expect(try Data(contentsOf: URL(filePath: outside)) == Data("keep".utf8))
    }

    // MARK: Files anywhere

    private func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: folder.url.appending(path: name))
        return folder.path(name)
    }

    private func document(hash: String) throws -> String {
        let document = PluginDocument(
            id: "p1", name: "P", version: nil, description: nil, script: "pass\r\n", hash: hash, commands: [:])
        return String(decoding: try JSONEncoder().encode(document), as: UTF8.self)
    }

    @Test func aFileIsVerifiedWhereverItIs() throws {
        let digest = SHA512.hash("pass\r\n".utf8)
        let script = try write("x.py", "pass\r\n")
        #expect(try PluginStore.verifyFile(script).subject == .script)
        #expect(try PluginStore.verifyFile(script).digest == digest)
        let text = try document(hash: digest.hex)
        let path = try write("x.json", text)
        #expect(try PluginStore.verifyFile(path).subject == .document(pluginID: "p1"))
        #expect(try PluginStore.verifyFile(script).subject == .scriptWithDocument(pluginID: "p1"))
        let envelope = try write("envelope.json", "{\"data\": \(text)}")
        #expect(try PluginStore.verifyFile(envelope).digest == digest)
    }

    @Test func whatDoesNotFitIsAnError() throws {
        let wrong = try write("x.json", try document(hash: SHA512.hash("".utf8).hex))
        #expect(throws: PluginStoreError.self) { try PluginStore.verifyFile(wrong) }
        _ = try write("y.json", try document(hash: SHA512.hash("pass\r\n".utf8).hex))
        let script = try write("y.py", "pass\n")
        let mismatch = #expect(throws: PluginStoreError.self) { try PluginStore.verifyFile(script) }
        #expect(mismatch?.code == "plugin.hash_mismatch")
        let missing = #expect(throws: PluginStoreError.self) { try PluginStore.verifyFile(folder.path("no.json")) }
        #expect(missing?.code == "store.disk")
        #expect(missing?.message.contains("No such file") == true)
        let folderError = #expect(throws: PluginStoreError.self) { try PluginStore.verifyFile(folder.path) }
        #expect(folderError?.code == "store.unsafe_file")
        let broken = try write("broken.json", "{")
        let invalid = #expect(throws: PluginStoreError.self) { try PluginStore.verifyFile(broken) }
        #expect(invalid?.code == "plugin.invalid_document")
    }
}
