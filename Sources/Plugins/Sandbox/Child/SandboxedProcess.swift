import AgentModel
internal import CArguments
internal import CSandbox
import Glibc

/// The process that runs plugins in the sandbox, seen from inside: the same executable, started with
/// ``argument``, with its sockets in their places.
public struct SandboxedProcess: Sendable {
    /// The first argument of such a process. The second is how many calls it may make at the same time.
    public static let argument = "sandboxed-process"

    /// Whether this process was started as one. Cheap, and starts no thread.
    public static var isRequested: Bool {
        rb_argument_count() == 3 && rb_arguments()[1].map { strcmp($0, argument) == 0 } == true
    }

    private static let ready: UInt32 = 30
    private static let refused: UInt32 = 31

    public let plan: SandboxPlan
    public let control: WireChannel
    public let requests: WireChannel
    public let calls: [WireChannel]
    /// Where it is written where the threads are in their code. Never waits: nobody may be reading.
    public let stacks: Int32
    private let confinement: ConfinedProcess

    /// Reads the plan and confines this process. Where that can't be done it says so to the agent and ends.
    ///
    /// Must be called before there is a second thread: the kernel confines the thread that asks.
    public static func enter() -> SandboxedProcess {
        // A handler that does nothing, because programs would inherit that it is ignored.
        signal(SIGPIPE) { _ in }
        rb_tune_allocator()
        let channels = rb_arguments()[2].map { Int(atoi($0)) } ?? 0
        guard (1...SandboxPlan.mostChannels).contains(channels) else { _exit(1) }
        // Nothing that the plugin starts is to have them.
        for descriptor in SandboxPlan.Descriptor.control...SandboxPlan.Descriptor.supervision(channels: channels) {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
        let control = channel(to: SandboxPlan.Descriptor.control, channels: channels, limit: 1 << 20)
        guard
            let plan = try? control.receive({ kind, reader throws(WireError) in
                guard kind == SandboxPlan.kind else { throw .malformed }
                return try SandboxPlan(from: &reader)
            }), plan.channels == channels
        else { _exit(1) }
        guard rb_thread_count() == 1 else {
            refuse(control, "it has a second thread, which would not be confined")
        }
        do throws(SandboxPlan.Failure) {
            let confinement = try plan.confine()
            if plan.mode == .require, !plan.isUnconfined,
                !confinement.report.missing(for: plan.policy.network).isEmpty
            {
                // The agent sees from the report what is missing.
                greet(control, confinement.report)
                _exit(1)
            }
            return SandboxedProcess(plan: plan, control: control, confinement: confinement)
        } catch {
            refuse(control, error.message)
        }
    }

    /// Says to the agent why this process can't run plugins, and ends it.
    public func declareFailed(_ reason: String) -> Never { Self.refuse(control, reason) }

    private static func refuse(_ control: WireChannel, _ reason: String) -> Never {
        var writer = WireWriter(kind: refused)
        writer.text(reason)
        if let message = writer.finished() { try? control.send(message) }
        _exit(1)
    }

    private init(plan: SandboxPlan, control: WireChannel, confinement: ConfinedProcess) {
        self.plan = plan
        self.control = control
        self.confinement = confinement
        let channels = plan.channels
        requests = Self.channel(to: SandboxPlan.Descriptor.request, channels: channels, limit: 128 << 20)
        stacks = SandboxPlan.Descriptor.stacks(channels: channels)
        _ = fcntl(stacks, F_SETFL, O_NONBLOCK)
        calls = (0..<Int32(channels)).map {
            Self.channel(to: SandboxPlan.Descriptor.firstCall + $0, channels: channels, limit: .max)
        }
    }

    private static func channel(to writing: Int32, channels: Int, limit: Int) -> WireChannel {
        WireChannel(
            reading: SandboxPlan.Descriptor.reading(beside: writing, channels: channels), writing: writing,
            limit: limit)
    }

    /// The interpreter and all threads of ours are there: from here on memory is limited, and calls may come.
    public func declareReady() {
        if !plan.isUnconfined, confinement.limitMemory(to: plan.policy.limits[.memory]) != 0, plan.mode == .require {
            _exit(1)
        }
        Self.greet(control, confinement.report)
    }

    private static func greet(_ control: WireChannel, _ report: SandboxReport) {
        var writer = WireWriter(kind: ready)
        report.write(to: &writer)
        if let message = writer.finished() { try? control.send(message) }
    }

    /// What a child says first, in the agent.
    static func readGreeting(
        _ kind: UInt32, _ reader: inout WireReader
    ) throws(WireError) -> Result<SandboxReport, SandboxError> {
        switch kind {
        case ready: .success(try SandboxReport(from: &reader))
        case refused: .failure(.refused(reason: try reader.text()))
        default: throw .malformed
        }
    }
}
