import AgentTestSupport
import Foundation
import Synchronization

/// A `runbook-backend` process and what it writes to its standard output.
///
/// Started with posix_spawn(3), because Foundation's `Process` was seen to miss the end of a child when several ran
/// at the same time, and then a test waits for ever.
final class BackendProcess: Sendable {
    /// Line by line, as they come.
    let lines: AsyncStream<String>
    let processID: Int32
    private let exits: AsyncStream<Int32>
    private let errors: String
    private let folder: TemporaryFolder
    private let isReaped: Flag

    // Built into the folder of the test bundle.
    private static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-backend").path

    /// - Parameters:
    ///   - errors: where its standard error goes instead of into a file of its own.
    ///   - closed: descriptors that it doesn't have.
    init(_ arguments: [String], errors path: String? = nil, closed: [Int32] = []) throws {
        folder = try TemporaryFolder()
        errors = path ?? folder.path("stderr")
        let output: Int32
        (processID, output) = try Self.spawning.withLock { [errors] _ in
            try Self.spawn(arguments, errors: errors, closed: closed)
        }
        isReaped = Flag()
        let (lines, lineContinuation) = AsyncStream<String>.makeStream()
        let (exits, exitContinuation) = AsyncStream<Int32>.makeStream()
        self.lines = lines
        self.exits = exits
        // A thread, because both reading and waitpid(2) block.
        Thread.detachNewThread { [processID, isReaped] in
            Self.read(output) { lineContinuation.yield($0) }
            lineContinuation.finish()
            exitContinuation.yield(Self.reap(processID, isReaped))
            exitContinuation.finish()
        }
    }

    // A test that failed in between must not leave a server behind.
    deinit { signal(SIGKILL) }

    func signal(_ number: Int32) {
        // Within the lock, so that the id can't have become another process's.
        isReaped.value.withLock { if !$0 { kill(processID, number) } }
    }

    /// The exit status, or a signal's number below zero.
    func exitStatus() async throws -> Int32 { await exits.first { _ in true } ?? Int32.min }

    /// What it wrote to its standard error so far.
    func standardError() throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: errors)), as: UTF8.self)
    }

    // One at a time: a child that is started between the making of another's pipe and its marking would hold it open.
    private static let spawning = Mutex(())

    private static func spawn(
        _ arguments: [String], errors: String, closed: [Int32]
    ) throws -> (processID: Int32, output: Int32) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT, 0o600)
        for descriptor in closed { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var processID: Int32 = 0
        let status = posix_spawn(&processID, executable, &actions, nil, &argv, environ)
        guard status == 0 else {
            close(ends[0])
            throw POSIXError(POSIXErrorCode(rawValue: status) ?? .EIO)
        }
        return (processID, ends[0])
    }

    private static func read(_ descriptor: Int32, line: (String) -> Void) {
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var rest = Data()
        while case let data = handle.availableData, !data.isEmpty {
            rest += data
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                line(String(decoding: rest[..<end], as: UTF8.self))
                rest = Data(rest[rest.index(after: end)...])
            }
        }
    }

    private static func reap(_ processID: Int32, _ isReaped: Flag) -> Int32 {
        // Waited for without reaping first: until it is reaped, its id is its own.
        var information = siginfo_t()
        while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        var status: Int32 = 0
        isReaped.value.withLock { isReaped in
            while waitpid(processID, &status, 0) < 0, errno == EINTR {}
            isReaped = true
        }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F)
    }
}

/// Shared between a process and the thread that waits for it.
private final class Flag: Sendable {
    let value = Mutex(false)
}

/// A finished command.
struct CommandResult {
    var status: Int32
    var output: [String]
    var errors: String

    static func of(_ arguments: String...) async throws -> CommandResult {
        let process = try BackendProcess(arguments)
        let output = await process.lines.reduce(into: []) { $0.append($1) }
        return CommandResult(
            status: try await process.exitStatus(), output: output, errors: try process.standardError())
    }
}
