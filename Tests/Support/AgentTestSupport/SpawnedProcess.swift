public import Foundation
import Synchronization

/// A process that can be killed at any time and tells when it has ended.
///
/// Started with posix_spawn(3), because Foundation's `Process` was seen to miss the end of a child when several ran at the
/// same time, and then a test waits for ever. It gets nothing of this process but what is named, and its own signals.
public final class SpawnedProcess: Sendable {
    /// How a process ended.
    public enum Ending: Sendable, Hashable, CustomStringConvertible {
        case exited(Int32)
        case signaled(Int32)

        public var description: String {
            switch self {
            case .exited(let status): "exit \(status)"
            case .signaled(let number): "signal \(number)"
            }
        }

        /// The exit status, or a signal's number below zero.
        public var status: Int32 {
            switch self {
            case .exited(let status): status
            case .signaled(let number): -number
            }
        }
    }

    private struct State {
        var ending: Ending?
        var waiters: [Int: CheckedContinuation<Ending?, Never>] = [:]
        var lastWaiter = 0
    }

    /// Where a process writes to.
    public enum Output: Sendable {
        /// Both streams, behind what is in the file.
        case log(String)
        case files(output: String, errors: String)
        /// Standard output to ``lines``.
        case lines(errors: String)
    }

    public let processID: pid_t
    /// Of its standard output, as they come, where that is asked for.
    public let lines: AsyncStream<String>
    private let state = Mutex(State())

    /// What an agent gets in a test: no path to any program, and no crash reports of Swift's own, whose process stays for
    /// ever where the agent is killed meanwhile.
    public static let bareEnvironment = ["PATH": "/nowhere", "LANG": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"]

    /// - Parameters:
    ///   - command: the path of a program and its arguments.
    ///   - directory: its working directory; nil for this process's.
    ///   - closed: those of the descriptors 0, 1 and 2 that it doesn't have.
    /// - Throws: `POSIXError`.
    public init(
        _ command: [String], environment: [String: String] = SpawnedProcess.bareEnvironment, directory: String? = nil,
        output: Output, closed: [Int32] = []
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        var ends: [Int32] = [-1, -1]
        switch output {
        case .log(let path):
            posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        case .files(let path, let errors):
            posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT, 0o600)
            posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT, 0o600)
        case .lines(let errors):
            // Closed in others' children from the first moment on, which pipe(2) has no way to say.
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
                throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
            }
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
            posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT, 0o600)
        }
        defer { if ends[1] >= 0 { close(ends[1]) } }
        for descriptor in closed { posix_spawn_file_actions_addclose(&actions, descriptor) }
        // Some of this process's libraries leave theirs open for children.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            if let descriptor = Int32(name), descriptor > 2 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        // env(1) becomes the program.
        let command = (directory.map { ["/usr/bin/env", "-C", $0] } ?? []) + command
        let arguments = command.map { strdup($0) }
        let variables = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in arguments + variables { free(text) } }
        var id: pid_t = 0
        let error = posix_spawn(&id, command[0], &actions, &attributes, arguments + [nil], variables + [nil])
        guard error == 0 else {
            if ends[0] >= 0 { close(ends[0]) }
            throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO)
        }
        processID = id
        let (lines, continuation) = AsyncStream<String>.makeStream()
        self.lines = lines
        Thread.detachNewThread { [self, output = ends[0]] in
            if output >= 0 { Self.read(output) { continuation.yield($0) } }
            continuation.finish()
            waitForProcess()
        }
    }

    /// Sends a signal. False where the process has ended already.
    @discardableResult
    public func send(_ signal: Int32) -> Bool {
        state.withLock { state in
            guard state.ending == nil else { return false }
            // It is a zombie at worst, so the id is nobody else's.
            var info = siginfo_t()
            if waitid(P_PID, id_t(processID), &info, WEXITED | WNOHANG | WNOWAIT) == 0, info.si_signo != 0 {
                return false
            }
            return kill(processID, signal) == 0
        }
    }

    /// Waits for the end; nil where it has not come in this time.
    public func end(within limit: Duration) async -> Ending? {
        await withTaskGroup(of: Ending?.self) { group in
            group.addTask { await self.end() }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    /// Waits for the end; nil where the task is cancelled before.
    public func end() async -> Ending? {
        let number = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (isOver, ending) = state.withLock { state -> (Bool, Ending?) in
                    if state.ending != nil || Task.isCancelled { return (true, state.ending) }
                    state.waiters[number] = continuation
                    return (false, nil)
                }
                if isOver { continuation.resume(returning: ending) }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: number) }?.resume(returning: nil)
        }
    }

    /// Sends a signal and waits for the end.
    @discardableResult
    public func end(with signal: Int32) async -> Ending? {
        send(signal)
        return await end()
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

    private func waitForProcess() {
        var info = siginfo_t()
        while waitid(P_PID, id_t(processID), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
        var status: Int32 = 0
        let (ending, waiters) = state.withLock { state in
            while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
            let ending: Ending =
                status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .signaled(status & 0x7F)
            state.ending = ending
            defer { state.waiters = [:] }
            return (ending, Array(state.waiters.values))
        }
        for waiter in waiters { waiter.resume(returning: ending) }
    }
}
