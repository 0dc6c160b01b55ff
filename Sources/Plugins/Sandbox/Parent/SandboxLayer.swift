internal import CSandbox
import Foundation

/// One mechanism of the kernel that the sandbox uses, and whether it works here.
public struct SandboxLayer: Sendable, Hashable {
    public var name: String
    /// As the kernel tells it; nil where there is none.
    public var version: String?
    public var works: Bool
    /// What it is there for.
    public var purpose: String
    /// Where it doesn't work: why, and what to do.
    public var advice: String?

    public init(name: String, version: String? = nil, works: Bool, purpose: String, advice: String? = nil) {
        (self.name, self.version, self.works) = (name, version, works)
        (self.purpose, self.advice) = (purpose, advice)
    }

    /// Every layer, tried on this host in processes of its own.
    public static func probe() -> [SandboxLayer] {
        let isRoot = geteuid() == 0
        return landlock() + [seccomp(), limits(), users(isRoot)] + namespaces(isRoot)
    }

    private static func landlock() -> [SandboxLayer] {
        let version = Int(rb_landlock_abi())
        let error = errno
        let enable =
            error == EOPNOTSUPP
            ? "it is built in but not switched on: add 'landlock' to the kernel's 'lsm=' parameter"
            : "the kernel has none: Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK is needed"
        return [
            (1, "landlock files", "files outside of the policy", "5.13"),
            (4, "landlock tcp", "TCP ports outside of 'network = tcp:…'", "6.7"),
            (6, "landlock scope", "signals and abstract sockets to processes outside", "6.12"),
        ].map { needed, name, purpose, kernel in
            SandboxLayer(
                name: name, version: version > 0 ? "ABI \(version)" : nil, works: version >= needed, purpose: purpose,
                advice: version >= needed
                    ? nil : version == 0 ? enable : "Linux \(kernel) or newer is needed (Landlock ABI \(needed))")
        }
    }

    private static func seccomp() -> SandboxLayer {
        let error = rb_try_seccomp()
        return SandboxLayer(
            name: "seccomp", works: error == 0, purpose: "system calls that plugins don't need",
            advice: error == 0
                ? nil : "\(text(error)): a kernel with CONFIG_SECCOMP_FILTER is needed, and a container that allows it")
    }

    private static func limits() -> SandboxLayer {
        let error = rb_try_limits()
        return SandboxLayer(
            name: "limits", works: error == 0,
            purpose: "memory, descriptors, file sizes, no core dumps, no new privileges, no capabilities",
            advice: error == 0 ? nil : "\(text(error)): the agent's own environment refuses to lower them")
    }

    private static func users(_ isRoot: Bool) -> SandboxLayer {
        guard !isRoot else {
            return SandboxLayer(
                name: "own user", works: true, purpose: "children run as a user id of their own", advice: nil)
        }
        let error = rb_try_namespaces(Int32(RB_TRY_USER))
        return SandboxLayer(
            name: "user namespace", works: error == 0, purpose: "the other namespaces, and a count of processes",
            advice: error == 0 ? nil : "\(text(error)): \(userNamespaceAdvice)")
    }

    private static let userNamespaceAdvice =
        "set the sysctls user.max_user_namespaces to a number above 0, kernel.unprivileged_userns_clone to 1 and "
        + "kernel.apparmor_restrict_unprivileged_userns to 0 where the host has them, or run the agent as root, which "
        + "needs none"

    private static func namespaces(_ isRoot: Bool) -> [SandboxLayer] {
        [
            (Int32(RB_TRY_PID), "pid namespace", "everything a plugin started ends with it"),
            (Int32(RB_TRY_MOUNT), "mount namespace", "a scratch folder of bounded size, /proc out of sight"),
            (Int32(RB_TRY_READ_ONLY), "read-only mounts", "modes, owners and times of files, beside seccomp"),
            (Int32(RB_TRY_IPC), "ipc namespace", "shared memory and queues of its own"),
            (Int32(RB_TRY_NETWORK), "network namespace", "no network at all with 'network = none'"),
            (Int32(RB_TRY_PID | RB_TRY_PROC), "own /proc", "'proc = True': a plugin's own processes in /proc"),
        ].map { flag, name, purpose in
            let error = rb_try_namespaces(flag | (isRoot ? 0 : Int32(RB_TRY_USER)))
            return SandboxLayer(
                name: name, works: error == 0, purpose: purpose,
                advice: error == 0 ? nil : "\(text(error)): \(advice(flag, isRoot))")
        }
    }

    private static func advice(_ flag: Int32, _ isRoot: Bool) -> String {
        if flag & Int32(RB_TRY_PROC) != 0 {
            return "plugins with 'proc = True' have no /proc; in a container whose /proc is masked in part the kernel "
                + "allows no other one: run the agent outside of it, or with its /proc unmasked"
        }
        return isRoot
            ? "the agent lacks CAP_SYS_ADMIN, or its container or security module forbids it; allow that, or run it as "
                + "an ordinary user where user namespaces are allowed"
            : userNamespaceAdvice
    }

    private static func text(_ error: Int32) -> String { String(cString: strerror(error)) }
}
