import Foundation
import Subprocess
import SystemPackage
import Testing

/// Taking the GIL, or a Python object, out of the closure that it is lent to does not compile.
///
/// Each snippet that must fail has a twin that must not, or a broken command line would look like success.
@Suite struct CompileFailureTests {
    struct Snippet: Sendable, CustomTestStringConvertible {
        let name: String
        let fails: String
        let diagnostic: String
        let compiles: String
        var testDescription: String { name }
    }

    @Test(arguments: [
        Snippet(
            name: "the GIL as a result",
            fails: """
                func f(_ python: PythonInterpreter) async {
                    let taken: GIL = await python.perform { gil in gil }
                    _ = consume taken
                }
                """,
            diagnostic: "requires that 'GIL' conform to 'Copyable'",
            compiles: """
                func f(_ python: PythonInterpreter, _ plugin: PluginInstance) async -> Bool {
                    await python.perform { gil in plugin.hasMethod("run", gil: gil) }
                }
                """),
        Snippet(
            name: "an object as a result",
            fails: """
                func f(_ thread: borrowing PythonAttachment, _ make: @Sendable (borrowing GIL) -> PythonObject) {
                    let taken: PythonObject = thread.withGIL { gil in make(gil) }
                    _ = consume taken
                }
                """,
            diagnostic: "requires that 'PythonObject' conform to 'Copyable'",
            compiles: """
                func f(_ thread: borrowing PythonAttachment, _ make: @Sendable (borrowing GIL) -> PythonObject) {
                    thread.withGIL { gil in
                        let object = make(gil)
                        _ = consume object
                    }
                }
                """),
        Snippet(
            name: "an object into a variable outside",
            fails: """
                func f(_ thread: borrowing PythonAttachment, _ make: @Sendable (borrowing GIL) -> PythonObject) {
                    var kept: PythonObject? = nil
                    thread.withGIL { gil in kept = make(gil) }
                    _ = consume kept
                }
                """,
            diagnostic: "mutation of captured var 'kept' in concurrently-executing code",
            compiles: """
                func f(_ thread: borrowing PythonAttachment, _ make: @Sendable (borrowing GIL) -> PythonObject) {
                    thread.withGIL { gil in
                        var kept: PythonObject? = nil
                        kept = make(gil)
                        _ = consume kept
                    }
                }
                """),
        Snippet(
            name: "the GIL into a task",
            fails: """
                func f(_ python: PythonInterpreter, _ plugin: PluginInstance) {
                    python.enqueue { (gil: borrowing GIL) in
                        Task { _ = plugin.hasMethod("run", gil: gil) }
                    }
                }
                """,
            diagnostic: "'gil' cannot be captured by an escaping closure since it is a borrowed parameter",
            compiles: """
                func f(_ python: PythonInterpreter, _ plugin: PluginInstance) {
                    python.enqueue { (gil: borrowing GIL) in
                        let found = plugin.hasMethod("run", gil: gil)
                        Task { print(found) }
                    }
                }
                """),
        Snippet(
            name: "a thread's place into a task",
            fails: """
                func f(_ thread: borrowing PythonAttachment) {
                    Task { thread.withGIL { _ in } }
                }
                """,
            diagnostic: "'thread' cannot be captured by an escaping closure since it is a borrowed parameter",
            compiles: """
                func f(_ thread: borrowing PythonAttachment) {
                    let id = thread.threadID
                    Task { print(id) }
                }
                """),
        Snippet(
            name: "a GIL of one's own",
            fails: "func f() { _ = GIL() }",
            diagnostic: "'GIL' initializer is inaccessible",
            compiles: "func f(_ gil: borrowing GIL, _ plugin: PluginInstance) { plugin.forget(gil: gil) }"),
    ])
    func snippet(_ snippet: Snippet) async throws {
        let refused = try await compile(snippet.fails)
        #expect(refused.status != 0)
        #expect(refused.output.contains(snippet.diagnostic), "\(refused.output)")
        let accepted = try await compile(snippet.compiles)
        #expect(accepted.status == 0, "\(accepted.output)")
    }

    /// As far as SIL: where a borrowed value may go is checked after the types.
    private func compile(_ source: String) async throws -> (status: Int32, output: String) {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "Snippet.swift")
        try "import PythonEmbedding\n\(source)\n".write(to: file, atomically: true, encoding: .utf8)
        let package = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized
        let built = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let headers = try await run(["pkg-config", "--cflags", "python3-embed"], in: folder).output
        var command = ["swiftc", "-emit-sil", "-o", "/dev/null", "-swift-version", "6"]
        command += ["-I", built.appending(path: "Modules").path()]
        command += ["-Xcc", "-fmodule-map-file=\(package.path())/Modules/CPython/module.modulemap"]
        // Those of the targets in C.
        for target in try FileManager.default.contentsOfDirectory(atPath: built.path()) where target.hasSuffix(".build")
        {
            let map = built.appending(path: "\(target)/module.modulemap").path()
            if access(map, F_OK) == 0 { command += ["-Xcc", "-fmodule-map-file=\(map)"] }
        }
        for header in headers.split(whereSeparator: { $0.isWhitespace }) { command += ["-Xcc", String(header)] }
        return try await run(command + [file.path()], in: folder)
    }

    /// Both streams, one after the other.
    private func run(_ command: [String], in folder: URL) async throws -> (status: Int32, output: String) {
        let result = try await Subprocess.run(
            .name(command[0]), arguments: Arguments(Array(command.dropFirst())),
            workingDirectory: FilePath(folder.path()), input: .none, output: .string(limit: 1 << 20),
            error: .string(limit: 1 << 20))
        let status: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): -signal
            }
        return (status, result.standardOutput + result.standardError)
    }
}
