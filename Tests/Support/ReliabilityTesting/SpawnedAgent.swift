public import Foundation
import Synchronization

/// A `runbook-agent` process that can be killed at any time and tells when it has ended.
public final class SpawnedAgent: Sendable {
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
    }

    private struct State {
        var ending: Ending?
        var waiters: [Int: CheckedContinuation<Ending?, Never>] = [:]
        var lastWaiter = 0
    }

    public let processID: pid_t
    private let state = Mutex(State())

    /// Starts it with standard output and error appended to a file, and nothing of this process.
    /// - Throws: `POSIXError`.
    public init(executable: String, arguments: [String], environment: [String: String] = [:], log: String) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
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

        let argumentTexts = ([executable] + arguments).map { strdup($0) }
        // Swift's own crash report comes from a process that stays for ever where the agent is killed meanwhile.
        let variables = ["PATH": "/nowhere", "LANG": "C.UTF-8", "SWIFT_BACKTRACE": "enable=no"]
            .merging(environment) { $1 }
        let variableTexts = variables.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in argumentTexts + variableTexts { free(text) } }
        var id: pid_t = 0
        let error = posix_spawn(&id, executable, &actions, &attributes, argumentTexts + [nil], variableTexts + [nil])
        guard error == 0 else { throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO) }
        processID = id
        Thread.detachNewThread { [self] in waitForProcess() }
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
