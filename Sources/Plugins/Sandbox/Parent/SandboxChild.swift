public import AgentModel
internal import CPrograms
internal import CSandbox
import Diagnostics
import Foundation
import Threads

/// A confined process of ours with an interpreter of its own, as the agent sees it.
///
/// Unchecked because each channel is used by one thread at a time, which its owner sees to; the rest doesn't change or
/// is guarded.
public final class SandboxChild: @unchecked Sendable {
    // More than a dozen properties: the channels, descriptors and processes that one child is.
    /// How long a child may take to come up.
    private static let startLimit = Duration.seconds(20)
    private static let requestLimit = 64 << 20
    /// What may wait in the pipe of a call.
    private static let pipeCapacity: Int32 = 256 << 10

    public let plan: SandboxPlan
    public let calls: [WireChannel]
    private let control: WireChannel
    /// Nil where the policy allows no requests.
    public let requests: WireChannel?
    /// What it and the programs it starts write to standard output and error.
    public let output: Int32
    public let errors: Int32
    public let report: SandboxReport
    /// What its runs say of where they ran.
    public let isolation: RunIsolation

    /// Where its threads are in their code, as it says it when it crashes and when it is asked.
    private let stacks: Int32
    private let supervision: Int32
    private let supervisor: pid_t
    /// The process that holds the interpreter; 0 where that isn't known.
    private let interpreter: pid_t
    private let state = BlockingLock<Ending?>(nil)
    private let controlTurn = BlockingLock(())
    private let stacksTurn = BlockingLock(())

    private init(
        plan: SandboxPlan, ends: Ends, supervisor: pid_t, report: SandboxReport
    ) {
        self.plan = plan
        (calls, control, requests) = (ends.calls, ends.control, ends.requests)
        (output, errors, supervision) = (ends.output, ends.errors, ends.supervision)
        stacks = ends.stacks
        self.supervisor = supervisor
        interpreter = plan.isUnconfined ? supervisor : Self.onlyChild(of: supervisor)
        self.report = report
        isolation = plan.isUnconfined ? .none : report.isolation(for: plan.policy.network)
    }

    deinit {
        end()
        close(output)
        close(errors)
        close(stacks)
        close(supervision)
    }

    // MARK: Using

    /// The process that holds the interpreter; 0 where that isn't known.
    public var interpreterProcess: Int32 { interpreter }

    /// Gives a closure the control channel, which several threads use.
    public func withControl<Value, Failure: Error>(
        _ body: (WireChannel) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let result = controlTurn.withLock { _ in
            Result { () throws(Failure) in try body(control) }
        }
        return try result.get()
    }

    /// Gives a closure the descriptor from which it is read, without waiting, where threads are in their code.
    public func withStacks<Value>(_ body: (Int32) -> Value) -> Value {
        stacksTurn.withLock { _ in body(stacks) }
    }

    /// Ends the programs that a call has started and what descends from them: those that carry its mark, and where it
    /// runs one call at a time also those that carry none. Milliseconds. False where some could not be ended in time.
    public func endPrograms(ofRun id: UInt64) -> Bool {
        ":\(id)".withCString { mark in
            var programs = rb_programs(
                mark: mark, is_suffix: 1, ancestor: supervisor, spared: interpreter,
                takes_unmarked: calls.count == 1 && interpreter != 0 ? 1 : 0)
            return rb_end_programs(&programs, 0, 500) == 0
        }
    }

    /// Of a process that has started no other yet; 0 where the kernel doesn't say.
    private static func onlyChild(of process: pid_t) -> pid_t {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8)
        else { return 0 }
        let children = text.split(separator: " ").compactMap { pid_t($0) }
        return children.count == 1 ? children[0] : 0
    }

    /// Counts from now on what it and everything it starts use of the processors.
    public func meter() -> ProcessorMeter { ProcessorMeter(of: supervisor) }

    // MARK: Starting

    /// The agent's ends of a child's sockets and pipes.
    private struct Ends {
        var calls: [WireChannel] = []
        var control: WireChannel
        var requests: WireChannel?
        var output: Int32
        var errors: Int32
        var stacks: Int32
        var supervision: Int32
    }

    /// Starts a child and waits until its interpreter is there: tens of milliseconds.
    ///
    /// The calling thread must live as long as the child: the kernel ends the child with it (prctl(2),
    /// `PR_SET_PDEATHSIG`).
    public static func start(
        _ policy: SandboxPolicy, channels: Int, on host: SandboxHost
    ) throws(SandboxError) -> SandboxChild {
        let plan = try host.plan(for: policy, channels: channels)
        do throws(SandboxError) {
            let (ends, spawned) = try spawn(plan, host.executable)
            return try greet(plan, ends, spawned)
        } catch {
            plan.giveBack()
            throw error
        }
    }

    /// What a child writes comes through pipes, because a pipe carries bytes alone. A socket would carry descriptors too,
    /// and whoever takes them in closes them: a socket with `SO_LINGER` makes that thread wait (socket(7)).
    ///
    /// What it reads goes through sockets whose other direction is closed (shutdown(2)): send(2) raises no SIGPIPE.
    private struct Descriptors: ~Copyable {
        private var theirs: [Int32] = []
        private var ours: [Int32] = []
        private let nothing: Int32

        init() { nothing = open("/dev/null", O_RDWR | O_CLOEXEC) }

        deinit {
            close(nothing)
            theirs.forEach { close($0) }
            ours.forEach { close($0) }
        }

        /// The agent's end, which is read from without waiting.
        mutating func output(capacity: Int32? = nil) throws(SandboxError) -> (ours: Int32, theirs: Int32) {
            var ends: [Int32] = [-1, -1]
            guard rb_pipe(&ends) == 0 else { throw .system("pipe") }
            // As much as the host allows; without, each time that it is full costs two changes of process.
            if let capacity { _ = fcntl(ends[1], rb_set_pipe_size, capacity) }
            _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
            ours.append(ends[0])
            theirs.append(ends[1])
            return (ends[0], ends[1])
        }

        /// The agent's end, which is written to without waiting.
        mutating func input() throws(SandboxError) -> (ours: Int32, theirs: Int32) {
            let ends = try socketPair()
            rb_enlarge_buffer(ends.ours, 2 << 20)
            _ = fcntl(ends.ours, F_SETFL, O_NONBLOCK)
            shutdown(ends.ours, Int32(SHUT_RD))
            return ends
        }

        mutating func socketPair() throws(SandboxError) -> (ours: Int32, theirs: Int32) {
            var ends: [Int32] = [-1, -1]
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
                throw .system("socketpair")
            }
            ours.append(ends[0])
            theirs.append(ends[1])
            return (ends[0], ends[1])
        }

        /// In the place of what the child has no use for.
        var none: (ours: Int32, theirs: Int32) { (-1, nothing) }

        /// From here on the agent's ends belong to others.
        consuming func closeTheirs() { ours = [] }
    }

    private static func spawn(
        _ plan: SandboxPlan, _ executable: String
    ) throws(SandboxError) -> (Ends, spawned: pid_t) {
        var descriptors = Descriptors()
        let (output, errors) = (try descriptors.output(), try descriptors.output())
        let stacks = try descriptors.output()
        let hasRequests = plan.policy.api != .none
        let control = (answers: try descriptors.output(), orders: try descriptors.input())
        let requests =
            hasRequests
            ? (answers: try descriptors.output(), orders: try descriptors.input())
            : (answers: descriptors.none, orders: descriptors.none)
        var calls: [(answers: (ours: Int32, theirs: Int32), orders: (ours: Int32, theirs: Int32))] = []
        for _ in 0..<plan.channels {
            calls.append((try descriptors.output(capacity: pipeCapacity), try descriptors.input()))
        }
        let supervision = try descriptors.socketPair()
        let all = [control, requests] + calls
        let theirs =
            [descriptors.none.theirs, output.theirs, errors.theirs] + all.map(\.answers.theirs)
            + all.map(\.orders.theirs) + [stacks.theirs, supervision.theirs]
        let arguments = cStrings(["runbook-agent", SandboxedProcess.argument, "\(plan.channels)"])
        let environment = cStrings(plan.environment)
        defer { (arguments + environment).forEach { free($0) } }
        let child = rb_spawn(executable, arguments, environment, theirs, theirs.count)
        guard child > 0 else {
            throw .startFailed(reason: "\(quoted(executable)): \(String(cString: strerror(-child)))")
        }
        descriptors.closeTheirs()
        let ends = Ends(
            calls: calls.map {
                WireChannel(reading: $0.answers.ours, writing: $0.orders.ours, limit: 0)
            },
            control: WireChannel(reading: control.answers.ours, writing: control.orders.ours, limit: 1 << 20),
            requests: hasRequests
                ? WireChannel(
                    reading: requests.answers.ours, writing: requests.orders.ours, limit: requestLimit) : nil,
            output: output.ours, errors: errors.ours, stacks: stacks.ours, supervision: supervision.ours)
        return (ends, child)
    }

    /// As execve(2) wants them; to be freed.
    private static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var pointers: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
        pointers.append(nil)
        return pointers
    }

    /// Tells the child its plan and waits until it is confined and ready.
    private static func greet(
        _ plan: SandboxPlan, _ ends: Ends, _ spawned: pid_t
    ) throws(SandboxError) -> SandboxChild {
        let deadline = ContinuousClock.now + startLimit
        var supervisor = spawned
        do throws(SandboxError) {
            guard let message = plan.message() else { throw .startFailed(reason: "the policy is too long") }
            try send(message, on: ends.control, until: deadline)
            guard let notice = readNotice(from: ends.supervision, until: deadline),
                notice.kind == Int32(RB_NOTICE_SUPERVISOR)
            else { throw deadline < .now ? .startTimedOut : .startFailed(reason: "it ended before it was confined") }
            supervisor = notice.value
            // It has handed over to the first process of its namespace.
            if supervisor != spawned { reap(spawned) }
            let report = try awaitReady(on: ends.control, until: deadline)
            let missing = plan.isUnconfined ? [] : report.missing(for: plan.policy.network)
            guard missing.isEmpty || plan.mode == .prefer else { throw .unavailable(missing: missing) }
            return SandboxChild(plan: plan, ends: ends, supervisor: supervisor, report: report)
        } catch {
            kill(supervisor, SIGKILL)
            // A supervisor without a namespace of its own ends what is left first.
            shutdown(ends.supervision, Int32(SHUT_RDWR))
            reap(spawned)
            if supervisor != spawned { reap(supervisor) }
            [ends.output, ends.errors, ends.stacks, ends.supervision].forEach { close($0) }
            throw error
        }
    }

    private static func send(
        _ message: [UInt8], on channel: WireChannel, until deadline: ContinuousClock.Instant
    ) throws(SandboxError) {
        do throws(WireError) {
            var sent = 0
            while sent < message.count {
                sent += try channel.sendSome(message, from: sent)
                guard sent < message.count else { return }
                guard waitFor(channel.writing, Int16(POLLOUT), until: deadline) else { throw .closed }
            }
        } catch {
            throw .startFailed(reason: "it did not take its policy")
        }
    }

    private static func awaitReady(
        on channel: WireChannel, until deadline: ContinuousClock.Instant
    ) throws(SandboxError) -> SandboxReport {
        let answer: Result<SandboxReport, SandboxError>
        do throws(WireError) {
            while true {
                if let next = try channel.next(SandboxedProcess.readGreeting) {
                    answer = next
                    break
                }
                guard waitFor(channel.reading, Int16(POLLIN), until: deadline) else {
                    answer = .failure(.startTimedOut)
                    break
                }
                _ = try channel.fill()
            }
        } catch {
            throw .startFailed(reason: "it ended while it was being confined, or its interpreter did not come up")
        }
        return try answer.get()
    }

    // MARK: Ending

    /// Ends the process and everything it started, and waits until none of it is left. How it ended, where it did so
    /// by itself.
    ///
    /// - Parameter isGone: a socket of it was closed: it is waited for how it says that it ended.
    @discardableResult
    public func end(isGone: Bool = false) -> Ending {
        state.withLock { state in
            if let state { return state }
            let ending = plan.isUnconfined ? endUnconfined(isGone) : endConfined(isGone)
            state = ending
            return ending
        }
    }

    public var hasEnded: Bool { state.withLock { $0 != nil } }

    /// Whether it is there, whoever may have ended it. One look at a socket.
    public var isAlive: Bool {
        var entry = pollfd(fd: supervision, events: Int16(POLLIN), revents: 0)
        return !hasEnded && poll(&entry, 1, 0) == 0
    }

    private func endConfined(_ isGone: Bool) -> Ending {
        let notice = Self.readNotice(from: supervision, until: .now + (isGone ? .seconds(2) : .zero))
        // In a namespace of its own everything ends with its first process; otherwise that sees to it by itself.
        if report.reached.contains(.pidNamespace) { kill(supervisor, SIGKILL) }
        shutdown(supervision, Int32(SHUT_RDWR))
        if Self.reap(supervisor) != nil { plan.giveBack() }
        guard let notice, notice.kind == Int32(RB_NOTICE_ENDED) else { return .ended }
        return Self.ending(notice.value)
    }

    private func endUnconfined(_ isGone: Bool) -> Ending {
        defer { plan.giveBack() }
        if isGone, let status = Self.reap(supervisor) { return Self.ending(status) }
        kill(supervisor, SIGKILL)
        Self.reap(supervisor)
        return .ended
    }

    private static func ending(_ status: Int32) -> Ending {
        status & 0x7F == 0 ? .exited(status: status >> 8 & 0xFF) : .signalled(status & 0x7F)
    }

    /// How long a process may take to end that was told to. The kernel may hold it up for longer, where it waits for a
    /// file system that doesn't answer.
    private static let endLimit: Int32 = 5000
    /// Those that took longer.
    private static let unreaped = BlockingLock<[pid_t]>([])

    /// Waits for the end of a process. Nil where it doesn't come in time: then it is looked for with the next ones.
    @discardableResult
    private static func reap(_ process: pid_t) -> Int32? {
        unreaped.withLock { $0.removeAll { late in rb_reap(late, 0, nil) != 0 } }
        var status: Int32 = 0
        if rb_reap(process, endLimit, &status) != 0 { return status }
        unreaped.withLock { $0.append(process) }
        return nil
    }

    private static func readNotice(from socket: Int32, until deadline: ContinuousClock.Instant) -> rb_notice? {
        var notice = rb_notice()
        let size = MemoryLayout<rb_notice>.size
        while true {
            let count = recv(socket, &notice, size, Int32(MSG_DONTWAIT))
            if count == size { return notice }
            guard count < 0, errno == EAGAIN || errno == EINTR else { return nil }
            guard waitFor(socket, Int16(POLLIN), until: deadline) else { return nil }
        }
    }

    /// Whether it is ready before the deadline.
    private static func waitFor(
        _ descriptor: Int32, _ events: Int16, until deadline: ContinuousClock.Instant
    ) -> Bool {
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return false }
            var entry = pollfd(fd: descriptor, events: events, revents: 0)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            let count = poll(&entry, 1, Int32(clamping: milliseconds + 1))
            if count > 0 { return true }
        }
    }
}

extension SandboxError {
    fileprivate static func system(_ call: String) -> SandboxError {
        .startFailed(reason: "\(call): \(String(cString: strerror(errno)))")
    }
}

extension SandboxPlan {
    /// What was taken for a child that is no more.
    fileprivate func giveBack() {
        UnnamedUsers.giveBack(user)
        guard case .folder(let path) = scratch else { return }
        try? FileManager.default.removeItem(atPath: path)
    }
}
