import AgentModel
internal import CSandbox
import Foundation

/// Everything a child needs to confine itself, as it comes from the agent.
public struct SandboxPlan: Sendable, Hashable {
    /// The descriptors of a child, from 0: nothing to read, its output, its errors, then what it writes to the agent
    /// through, and then, in the same order, what it reads from the agent.
    enum Descriptor {
        static let control: Int32 = 3
        static let request: Int32 = 4
        static let firstCall: Int32 = 5

        /// The descriptor to read from that belongs to one to write to.
        static func reading(beside writing: Int32, channels: Int) -> Int32 { writing + 2 + Int32(channels) }

        /// Where it writes where its threads are in their code, when it crashes and when it is asked.
        static func stacks(channels: Int) -> Int32 { control + 2 * (2 + Int32(channels)) }

        /// That of the process which watches over the child; the child's own are below.
        static func supervision(channels: Int) -> Int32 { stacks(channels: channels) + 1 }
    }

    /// Of calls at the same time.
    static let mostChannels = 256

    /// Where the scratch folder is: a filesystem of its own over a folder that every Linux has, or a folder made for
    /// this child.
    public enum Scratch: Sendable, Hashable {
        case mounted
        case folder(String)

        /// shm_overview(7): shared memory and semaphores of the C library are made here too.
        static let mountPoint = "/dev/shm"

        public var path: String {
            switch self {
            case .mounted: Self.mountPoint
            case .folder(let path): path
            }
        }
    }

    public var policy: SandboxPolicy
    public var mode: SandboxMode
    /// Nil: the agent's own.
    public var user: SandboxUser?
    public var scratch: Scratch
    /// Folders in front of `sys.path`, which it may read.
    public var pythonPath: [String]
    /// Folders that the interpreter itself needs.
    public var libraryPaths: [String]
    /// How many calls it may make at the same time.
    public var channels: Int
    /// Nothing is confined. Only for showing that an attempt to break out can succeed.
    public var isUnconfined = false
    /// What is done without although it may be there.
    var withheld: Set<SandboxMechanism> = []
    /// The agent's process.
    var parent: Int32 = 0

    public init(
        policy: SandboxPolicy, mode: SandboxMode, user: SandboxUser?, scratch: Scratch, pythonPath: [String],
        libraryPaths: [String], channels: Int
    ) {
        self.libraryPaths = libraryPaths
        self.policy = policy
        self.mode = mode
        self.user = user
        self.scratch = scratch
        self.pythonPath = pythonPath
        self.channels = channels
    }

    /// The child's environment (environ(7)), each as `NAME=value`.
    var environment: [String] {
        var values = [
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "HOME": scratch.path,
            "TMPDIR": scratch.path, "MALLOC_ARENA_MAX": "2",
            // Python itself says where a plugin crashed.
            "SWIFT_BACKTRACE": "enable=no",
        ]
        // The C library asks for names over UDP first, which can't be limited to a port (resolv.conf(5)).
        if case .ports(_, resolvesNames: true) = policy.network { values["RES_OPTIONS"] = "use-vc" }
        values.merge(policy.environment) { _, own in own }
        if isUnconfined { values.merge(ProcessInfo.processInfo.environment) { own, _ in own } }
        return values.map { "\($0.key)=\($0.value)" }.sorted()
    }
}

// MARK: On its way to the child

extension SandboxPlan {
    static let kind: UInt32 = 20

    func message() -> [UInt8]? {
        var writer = WireWriter(kind: Self.kind, capacity: 4096)
        for paths in [policy.readPaths, policy.writePaths, pythonPath, libraryPaths] {
            writer.integer(UInt64(paths.count))
            for path in paths { writer.text(path) }
        }
        writer.text(policy.network.description)
        for limit in SandboxLimit.all { writer.integer(UInt64(policy.limits[limit])) }
        writer.integer(UInt64(channels))
        writer.integer(policy.startsPrograms ? 1 : 0)
        writer.integer(policy.hasProc ? 1 : 0)
        writer.text(policy.api.rawValue)
        writer.text(mode.rawValue)
        writer.integer(UInt64(user?.user ?? 0))
        writer.integer(UInt64(user?.group ?? 0))
        if case .folder(let path) = scratch { writer.text(Optional(path)) } else { writer.text(String?.none) }
        writer.integer(isUnconfined ? 1 : 0)
        writer.integer(withheld.bits)
        writer.integer(UInt64(parent))
        return writer.finished()
    }

    init(from reader: inout WireReader) throws(WireError) {
        var lists: [[String]] = []
        for _ in 0..<4 {
            var paths: [String] = []
            for _ in 0..<(try reader.integer()) { paths.append(try reader.text()) }
            lists.append(paths)
        }
        policy = SandboxPolicy()
        (policy.readPaths, policy.writePaths, pythonPath, libraryPaths) = (lists[0], lists[1], lists[2], lists[3])
        guard let network = SandboxNetwork(try reader.text()) else { throw .malformed }
        policy.network = network
        for limit in SandboxLimit.all { policy.limits[limit] = Int(try reader.integer()) }
        channels = Int(try reader.integer())
        policy.startsPrograms = try reader.integer() != 0
        policy.hasProc = try reader.integer() != 0
        policy.api = APIAccess(rawValue: try reader.text()) ?? .none
        mode = SandboxMode(rawValue: try reader.text()) ?? .require
        let (id, group) = (UInt32(try reader.integer()), UInt32(try reader.integer()))
        user = id == 0 ? nil : SandboxUser(user: id, group: group)
        scratch = try reader.optionalText().map(Scratch.folder) ?? .mounted
        isUnconfined = try reader.integer() != 0
        withheld = Set(bits: try reader.integer())
        parent = Int32(try reader.integer())
    }
}

// MARK: In the child

extension SandboxPlan {
    /// Files that the C library, Python, clients of the network and the usual programs read, and which say nothing of the
    /// agent. Many programs take a file that they may not read for an error, and one that isn't there for none.
    static let systemFiles = [
        "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf",
        "/etc/gai.conf", "/etc/resolv.conf", "/etc/services", "/etc/protocols", "/etc/networks", "/etc/ethers",
        "/etc/rpc", "/etc/passwd", "/etc/group", "/etc/mime.types", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem",
        "/etc/ssl/certs", "/etc/pki/tls/openssl.cnf", "/etc/pki/tls/cert.pem", "/etc/pki/tls/certs",
        "/etc/pki/ca-trust/extracted", "/etc/ca-certificates", "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates", "/sys/devices/system/cpu",
        // Of programs.
        "/etc/alternatives", "/etc/bash.bashrc", "/etc/bashrc", "/etc/debian_version", "/etc/fonts",
        "/etc/gitattributes", "/etc/gitconfig", "/etc/gitignore", "/etc/inputrc", "/etc/locale.alias",
        "/etc/locale.conf",
        "/etc/lsb-release", "/etc/magic", "/etc/magic.mime", "/etc/mailcap", "/etc/manpath.config", "/etc/os-release",
        "/etc/papersize", "/etc/profile", "/etc/profile.d", "/etc/redhat-release", "/etc/shells",
        "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d", "/etc/ssh/ssh_known_hosts", "/etc/terminfo", "/etc/vim",
        "/etc/wgetrc", "/etc/xattr.conf",
    ]
    /// Folders that every child may read and start programs from.
    public static let programFolders = ["/usr", "/lib", "/lib64", "/bin", "/sbin"]
    private static let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]

    private var rules: [(path: String, access: Int)] {
        let read = Int(RB_PATH_READ)
        let (execute, write) = (read | Int(RB_PATH_EXECUTE), read | Int(RB_PATH_WRITE))
        let (optional, linkless) = (Int(RB_PATH_OPTIONAL), Int(RB_PATH_LINKLESS))
        var rules = (Self.programFolders + pythonPath + libraryPaths).map { ($0, execute | optional) }
        if policy.startsPrograms { rules += Self.ownProgram.map { ($0, execute | optional) } }
        rules += Self.systemFiles.map { ($0, read | optional) }
        rules += Self.devices.map { ($0, write | optional) }
        if policy.hasProc { rules.append(("/proc", read | Int(RB_PATH_OWN_PROC))) }
        rules += policy.readPaths.map { ($0, read | linkless) }
        rules += policy.writePaths.map { ($0, write | linkless) }
        rules.append((scratch.path, write))
        return rules.map { (path: $0.0, access: $0.1) }
    }

    /// This executable, which is Python's program where no other is, and its runtime's folder where that isn't the
    /// system's. Asked before the child is confined.
    private static var ownProgram: [String] {
        guard let executable = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            return []
        }
        // Where the runtime isn't in the executable it is where the dynamic loader has found it.
        let runtime = loadedLibrary("libswiftCore.so")
        guard let runtime, !programFolders.contains(where: { runtime.hasPrefix($0 + "/") }) else { return [executable] }
        return [executable, (runtime as NSString).deletingLastPathComponent]
    }

    /// The file of a library of this process; nil where none of that name is loaded (dl_iterate_phdr(3)).
    private static func loadedLibrary(_ name: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let file = buffer.baseAddress, rb_loaded_library(name, file, buffer.count) != 0 else { return nil }
            return String(cString: file)
        }
    }

    /// What could not be done at all.
    struct Failure: Error {
        var message: String
    }

    /// Confines this process, which must have no thread but the one that calls. The caller comes back in a child of
    /// it.
    func confine() throws(Failure) -> ConfinedProcess {
        var report = rb_report()
        let refusal: String? = withPlan { plan in
            rb_confine(&plan, &report)
            if let failure = report.failure {
                var text = String(cString: failure)
                if let path = report.failure_path { text = "\"\(String(cString: path))\": " + text }
                return "\(text) (\(String(cString: strerror(report.failure_error))))"
            }
            guard !isUnconfined else { return nil }
            // Whatever the mode: it is about mechanisms that are said to be in force.
            return rb_try_forbidden(&plan, &report).map { "what must be refused was not: \(String(cString: $0))" }
        }
        if let refusal { throw Failure(message: refusal) }
        return ConfinedProcess(raw: report)
    }

    private func withPlan<Value>(_ body: (inout rb_plan) -> Value) -> Value {
        let rules = rules
        let names = rules.map { strdup($0.path) }
        let mount = strdup(scratch.path)
        defer {
            names.forEach { free($0) }
            free(mount)
        }
        let paths = zip(names, rules).map { rb_path(path: $0, access: Int32($1.access)) }
        let ports = (policy.network.openPorts ?? []).map { rb_ports(first: $0.lowerBound, last: $0.upperBound) }
        let limits = SandboxLimit.all.compactMap { limit in
            limit.resource.map { rb_limit(resource: $0, value: UInt64(policy.limits[limit])) }
        }
        return paths.withUnsafeBufferPointer { paths in
            ports.withUnsafeBufferPointer { ports in
                limits.withUnsafeBufferPointer { limits in
                    var plan = rb_plan()
                    (plan.paths, plan.path_count) = (paths.baseAddress, paths.count)
                    (plan.ports, plan.port_count) = (ports.baseAddress, ports.count)
                    (plan.limits, plan.limit_count) = (limits.baseAddress, limits.count)
                    plan.scratch = UnsafePointer(mount)
                    fill(&plan)
                    return body(&plan)
                }
            }
        }
    }

    /// What of the plan is no pointer.
    private func fill(_ plan: inout rb_plan) {
        plan.network =
            switch policy.network {
            case .none: Int32(RB_NETWORK_NONE)
            case .ports: Int32(RB_NETWORK_PORTS)
            case .full: Int32(RB_NETWORK_FULL)
            }
        plan.file_size = UInt64(max(policy.limits[.scratch], 64 << 20))
        plan.open_files = UInt64(256 + 2 * (channels - 1))
        plan.may_start_programs = policy.startsPrograms ? 1 : 0
        plan.has_proc = policy.hasProc ? 1 : 0
        (plan.user, plan.group) = (user?.user ?? 0, user?.group ?? 0)
        plan.scratch_size = scratch == .mounted ? UInt64(policy.limits[.scratch]) : 0
        plan.parent = parent
        plan.supervision = Descriptor.supervision(channels: channels)
        plan.unconfined = isUnconfined ? 1 : 0
        plan.withheld = UInt32(withheld.bits)
    }
}

/// A process that is confined.
///
/// Unchecked because the pointers in it are to constants.
struct ConfinedProcess: @unchecked Sendable {
    private var raw: rb_report
    let report: SandboxReport

    init(raw: rb_report) {
        self.raw = raw
        report = SandboxReport(raw)
    }

    /// Limits memory to so many bytes more than the process has now. Returns an errno, or 0.
    func limitMemory(to bytes: Int) -> Int32 {
        withUnsafePointer(to: raw) { rb_limit_memory($0, UInt64(bytes)) }
    }
}
