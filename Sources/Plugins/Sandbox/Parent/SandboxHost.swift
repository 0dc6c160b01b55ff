internal import CSandbox
import Glibc

/// What all children of one agent have in common.
public struct SandboxHost: Sendable {
    public var mode: SandboxMode
    /// As it is configured; without, root's children get a user id each that no one else has.
    public var user: SandboxUser?
    /// The agent's own executable, which pins the version too.
    public var executable: String
    /// Folders in front of `sys.path`.
    public var pythonPath: [String]
    /// Folders that the interpreter itself needs, beside those of the system.
    public var libraryPaths: [String]
    public var isUnconfined = false
    /// Namespaces and users of their own that are done without, as on a host that lacks them: only for seeing what the
    /// rest does.
    public var withheld: Set<SandboxMechanism> = []

    public init(
        mode: SandboxMode = .require, user: SandboxUser? = nil, executable: String = "/proc/self/exe",
        pythonPath: [String] = [], libraryPaths: [String] = []
    ) {
        self.libraryPaths = libraryPaths
        self.mode = mode
        self.user = user
        self.executable = executable
        self.pythonPath = pythonPath
    }

    func plan(for policy: SandboxPolicy, channels: Int) throws(SandboxError) -> SandboxPlan {
        let changesUser = geteuid() == 0 && !withheld.contains(.ownUser)
        let user = changesUser ? user ?? UnnamedUsers.take() : nil
        guard user != nil || !changesUser else { throw .startFailed(reason: "there are 4096 children already") }
        var plan = SandboxPlan(
            policy: policy, mode: mode, user: user,
            scratch: canMount && !isUnconfined ? .mounted : .folder(try Self.makeFolder(for: user)),
            pythonPath: pythonPath, libraryPaths: libraryPaths, channels: channels)
        plan.isUnconfined = isUnconfined
        plan.withheld = withheld
        plan.parent = getpid()
        return plan
    }

    private var canMount: Bool {
        withheld.isDisjoint(with: [.mountNamespace, .userNamespace]) && Self.hostCanMount
    }

    /// Asked once: it doesn't change while the process runs.
    private static let hostCanMount: Bool = {
        let needed = Int32(RB_TRY_MOUNT) | (geteuid() == 0 ? 0 : Int32(RB_TRY_USER))
        return rb_try_namespaces(needed) == 0
    }()

    private static func makeFolder(for user: SandboxUser?) throws(SandboxError) -> String {
        var template = Array("/tmp/runbook-agent-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw .startFailed(reason: "no scratch folder can be made in /tmp: \(String(cString: strerror(errno)))")
        }
        let path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        if let user { chown(path, user.user, user.group) }
        return path
    }
}
