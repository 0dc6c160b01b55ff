import CProcess
import Glibc

/// What keeps the secrets of this process from leaving it by the back door.
public enum ProcessProtection {
    /// Environment variables that lead to secrets, or are secret, and that no plugin needs.
    public static let secretVariables = [
        "CREDENTIALS_DIRECTORY", ConfigurationKey.clientID.environmentName, ConfigurationKey.keyFile.environmentName,
    ]

    /// Takes those variables out of the environment, which plugins and the programs that they start see.
    ///
    /// Called before there are other threads (unsetenv(3)).
    public static func clearEnvironment() {
        for name in secretVariables { unsetenv(name) }
    }

    /// No core dump of this process from now on, and nobody but root may read its memory.
    ///
    /// The limit alone doesn't stop dumps that go to a program (core(5), "Piping core dumps to a program"); the other
    /// also closes `/proc/PID/mem` and ptrace(2) to other processes of the same user (PR_SET_DUMPABLE(2const)). The
    /// hard limit stays: programs that a plugin starts hold no token and may raise theirs.
    public static func forbidDumps() {
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) == 0 {
            limit.rlim_cur = 0
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
        }
        _ = runbook_set_undumpable()
    }
}
