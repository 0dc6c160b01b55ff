import AgentModel
import Foundation
import PythonEmbedding
import Sandbox
import Threads

/// One version of one plugin in the sandbox: the process that holds it, and the one after that.
///
/// Unchecked because `state` is guarded by its lock.
final class SandboxedVersion: @unchecked Sendable {
    private struct State {
        var child: SandboxChild?
        var freeChannels: [Int] = []
        /// Calls for which the process has no channel: more were admitted before its concurrency was lowered.
        var waiting: [BlockingQueue<Void>] = []
        var inUse = 0
        var lastUse = ContinuousClock.now
        /// No call begins on it any more; called when the last has ended.
        var onIdle: (@Sendable () -> Void)?
        var isRetired = false
        /// One thread at a time makes a process, or shuts one down.
        var isReplacing = false
        /// Threads that wait for that one.
        var awaiting: [BlockingQueue<Void>] = []
    }

    let image: PluginImage
    let kind: StandbyChildPool.Kind
    private let dependencies: SandboxDependencies
    private let state = BlockingLock(State())

    init(image: PluginImage, policy: SandboxPolicy, dependencies: SandboxDependencies) {
        self.image = image
        self.dependencies = dependencies
        kind = StandbyChildPool.Kind(policy: policy, channels: image.concurrency)
    }

    /// The process now, and what confines it.
    var child: SandboxChild? { state.withLock { $0.child } }

    // MARK: Processes

    /// How many processes that were there, and said something no one asked for, a call does without before it gives up.
    private static let mostReplacements = 2

    /// Runs a closure with a process that has the plugin loaded, and a channel of it that no one else uses. Blocks
    /// while a process is made. Nil where another version has taken this one's place.
    ///
    /// - Throws: what loading throws; `PluginExecutionError.loadCrashed` where one process after the other can't be
    ///   used; `stopped`.
    func withProcess<Value>(
        within bound: SandboxBound, _ body: (SandboxChild, _ channel: Int) -> Value
    ) throws(PluginExecutionError) -> Value? {
        // From here on it isn't retired.
        guard state.withLock({ begin(&$0) }) else { return nil }
        defer { endUse() }
        var replacements = 0
        while true {
            if bound.isStopped { throw .stopped }
            if bound.hasPassed { throw .loadTimedOut(plugin: image.id) }
            let place: (child: SandboxChild, channel: Int)
            switch findPlace() {
            case .free(let child, let channel): place = (child, channel)
            case .taken(let wake):
                _ = bound.wait(for: wake)
                continue
            case .none:
                _ = try ensureChild(within: bound)
                continue
            }
            let (child, channel) = place
            defer { giveBack(channel, of: child) }
            guard SandboxRoundTrip.isFree(child, channel: channel) else {
                // It ended on its own, or said something that no one asked for: no call is to suffer from that. One that
                // does so each time would have the call go on for ever.
                guard replacements < Self.mostReplacements else {
                    replace(child)
                    throw .loadCrashed(plugin: image.id, cause: "by sending what is no answer")
                }
                replacements += 1
                replace(child)
                continue
            }
            return body(child, channel)
        }
    }

    private func begin(_ state: inout State) -> Bool {
        guard !state.isRetired else { return false }
        state.inUse += 1
        return true
    }

    private func endUse() {
        let idle = state.withLock { state -> (@Sendable () -> Void)? in
            state.inUse -= 1
            state.lastUse = .now
            guard state.inUse == 0, let onIdle = state.onIdle else { return nil }
            state.onIdle = nil
            return onIdle
        }
        idle?()
    }

    private enum Place {
        case free(SandboxChild, channel: Int)
        /// Something is pushed when it is worth another look.
        case taken(BlockingQueue<Void>)
        case none
    }

    private func findPlace() -> Place {
        state.withLock { state in
            guard let child = state.child, !child.hasEnded else { return .none }
            if let channel = state.freeChannels.popLast() { return .free(child, channel: channel) }
            let wake = BlockingQueue<Void>()
            state.waiting.append(wake)
            return .taken(wake)
        }
    }

    private func giveBack(_ channel: Int, of child: SandboxChild) {
        let woken = state.withLock { state in
            if state.child === child { state.freeChannels.append(channel) }
            defer { state.waiting = [] }
            return state.waiting
        }
        for wake in woken { wake.push(()) }
    }

    /// Waits for its turn to make a process or to shut one down, and takes it. False where it doesn't come in time.
    private func takeTurn(within bound: SandboxBound?) -> Bool {
        while true {
            let wake = state.withLock { state -> BlockingQueue<Void>? in
                guard state.isReplacing else {
                    state.isReplacing = true
                    return nil
                }
                let wake = BlockingQueue<Void>()
                state.awaiting.append(wake)
                return wake
            }
            guard let wake else { return true }
            guard let bound else {
                // Whoever has it is held to the limits of loading and shutting down.
                wake.pop()
                continue
            }
            guard bound.wait(for: wake) != nil else { return false }
        }
    }

    private func endTurn() {
        let awaiting = state.withLock { state in
            state.isReplacing = false
            defer { state.awaiting = [] }
            return state.awaiting
        }
        for wake in awaiting { wake.push(()) }
    }

    /// Makes a process and loads the plugin into it, unless there is one. Returns what the script wrote.
    func ensureChild(within bound: SandboxBound) throws(PluginExecutionError) -> String {
        guard takeTurn(within: bound) else { throw bound.isStopped ? .stopped : .loadTimedOut(plugin: image.id) }
        defer { endTurn() }
        if let child = state.withLock({ $0.child }), !child.hasEnded { return "" }
        // What was to be made ready for the next call, and none comes.
        if state.withLock({ $0.isRetired && $0.inUse == 0 }) { return "" }
        let child: SandboxChild
        do throws(SandboxError) {
            child = try dependencies.standbyPool.take(kind, within: bound)
        } catch {
            throw error == .stopped ? .stopped : .sandbox(plugin: image.id, error)
        }
        // Before the script runs: its constructor may ask for something already.
        if let channel = child.requests {
            RequestService(plugin: image.id, access: kind.policy.api, host: dependencies.host, channel: channel).start()
        }
        let output: String
        do throws(PluginExecutionError) {
            output = try load(into: child, within: bound)
        } catch {
            child.end()
            throw error
        }
        let isWanted = state.withLock { state in
            // A call that came before the plugin was retired still runs.
            guard !state.isRetired || state.inUse > 0 else { return false }
            (state.child, state.freeChannels) = (child, Array(child.calls.indices))
            return true
        }
        if isWanted { dependencies.standbyPool.replenish(kind) } else { child.end() }
        return output
    }

    private func load(into child: SandboxChild, within bound: SandboxBound) throws(PluginExecutionError) -> String {
        let order = LoadOrder(
            id: dependencies.nextID(), pluginID: image.id.rawValue, path: image.path, script: image.script,
            outputLimit: dependencies.limits.output, sendsOutput: image.onOutput != nil)
        var raw = SandboxRoundTrip.SideOutput()
        let end = dependencies.roundTrip(
            on: child, channel: 0,
            deadline: bound.within(min(image.timeLimit ?? SandboxDependencies.loadLimit, SandboxDependencies.loadLimit))
                .deadline,
            stopDescriptor: dependencies.stopDescriptor, endsOnStop: true, onOutput: image.onOutput
        ).run(order, beside: &raw)
        switch end {
        case nil: throw .stopped
        case .answered(.success(let output), stoppedBy: nil):
            return output + String(decoding: raw.output, as: UTF8.self) + String(decoding: raw.errors, as: UTF8.self)
        case .stopped where bound.isStopped: throw .stopped
        case .answered(.success, stoppedBy: _?), .stopped, .exhausted: throw .loadTimedOut(plugin: image.id)
        case .answered(.failure(var failure), _):
            failure.exception.message += image.sandbox?.hint(for: failure.exception) ?? ""
            throw .loadFailed(plugin: image.id, failure)
        case .died(let ending): throw .loadCrashed(plugin: image.id, cause: ending.sentence)
        case .flooded: throw .loadCrashed(plugin: image.id, cause: "by writing without end")
        case .misbehaved: throw .loadCrashed(plugin: image.id, cause: "by sending what is no answer")
        }
    }

    /// Ends the process at once; the next call gets another, which is made ready meanwhile.
    func replace(_ child: SandboxChild) {
        child.end()
        let isWanted = state.withLock { state -> Bool in
            guard state.child === child else { return false }
            (state.child, state.freeChannels) = (nil, [])
            return !state.isRetired
        }
        guard isWanted else { return }
        dependencies.work.push { [self] in
            // What is wrong with it is said to the next call.
            _ = try? ensureChild(within: dependencies.bound())
        }
    }

    // MARK: The end

    /// Ends it when its calls have ended: `shutdown()` first.
    func retire(_ completion: @escaping @Sendable (RunError?) -> Void) {
        let finish: @Sendable () -> Void = { [self] in
            dependencies.work.push { [self] in
                let error = shutDown()
                dependencies.standbyPool.release(kind)
                completion(error)
            }
        }
        let isIdle = state.withLock { state in
            state.isRetired = true
            if state.inUse > 0 { state.onIdle = finish }
            return state.inUse == 0
        }
        if isIdle { finish() }
    }

    /// Ends the process where nothing has used it for so long.
    func stopIfIdle(for idleTime: Duration) {
        let isIdle = state.withLock { state in
            guard state.child != nil, state.inUse == 0, !state.isRetired,
                state.lastUse.duration(to: .now) >= idleTime
            else { return false }
            return true
        }
        guard isIdle else { return }
        dependencies.work.push { [self] in _ = shutDown() }
    }

    /// Not while another process is made, which would be left over, or is shut down, which must have ended afterwards.
    private func shutDown() -> RunError? {
        _ = takeTurn(within: nil)
        defer { endTurn() }
        let child = state.withLock { state -> SandboxChild? in
            // A call may have come since it was seen to rest.
            guard state.inUse == 0 else { return nil }
            defer { (state.child, state.freeChannels) = (nil, []) }
            return state.child
        }
        guard let child, !child.hasEnded else { return nil }
        return shutDown(child)
    }

    private func shutDown(_ child: SandboxChild) -> RunError? {
        defer { child.end() }
        var raw = SandboxRoundTrip.SideOutput()
        let end = dependencies.roundTrip(
            on: child, channel: 0, deadline: .now + dependencies.shutdownLimit
        ).run(ShutDownOrder(id: dependencies.nextID()), beside: &raw)
        switch end {
        case .answered(let exception, stoppedBy: nil): return exception.map(RunError.init(shutdown:))
        case .answered, .stopped, .exhausted: return .shutdownTimedOut
        case .died, .flooded, .misbehaved, nil: return nil
        }
    }

    /// Which of these functions can't be called; all of them where the process answers wrongly or another version has
    /// taken this one's place, and none where it is too busy to answer: a call that is under way must not suffer from
    /// being asked beside it.
    func missingFunctions(among functions: [String]) -> [String] {
        // It doesn't go to rest before it has answered.
        guard state.withLock({ begin(&$0) }) else { return functions }
        defer { endUse() }
        // It may have been idle for long, or have ended.
        guard (try? ensureChild(within: dependencies.bound())) != nil, let child else { return functions }
        let id = dependencies.nextID()
        var writer = WireWriter(kind: SandboxMessage.listMissing)
        writer.integer(id)
        writer.integer(UInt64(functions.count))
        for function in functions { writer.text(function) }
        guard let order = writer.finished() else { return functions }
        do throws(WireError) {
            let answer = try child.withControl { control throws(WireError) -> Set<String>? in
                guard try control.send(order, within: Self.controlLimit) else { return nil }
                return try Self.readMissing(from: control, answerTo: id, among: functions.count)
            }
            return functions.filter { answer?.contains($0) ?? false }
        } catch {
            // What it says from now on answers who knows what.
            replace(child)
            return functions
        }
    }

    /// Nil where no answer comes in time. One that comes later is passed over when the next is waited for.
    private static func readMissing(
        from control: WireChannel, answerTo id: UInt64, among count: Int
    ) throws(WireError) -> Set<String>? {
        let deadline = ContinuousClock.now + controlLimit
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            let answer = try control.receive(within: left) { kind, reader throws(WireError) in
                guard kind == SandboxMessage.missing else { throw .malformed }
                let answered = try reader.integer()
                var missing: Set<String> = []
                let claimed = try reader.integer()
                guard answered <= id, claimed <= 1 << 16 else { throw .malformed }
                for _ in 0..<claimed { missing.insert(try reader.text()) }
                return (id: answered, missing: missing)
            }
            guard let answer else { return nil }
            guard answer.id == id else { continue }
            guard answer.missing.count <= count else { throw .malformed }
            return answer.missing
        }
    }

    /// Short: who holds the control channel keeps the steps against a call that is past its limit waiting.
    private static let controlLimit = Duration.seconds(1)
}

/// What all sandboxed plugins of one executor share.
struct SandboxDependencies: Sendable {
    /// As in the other tier.
    static let loadLimit = Duration.seconds(60)

    let standbyPool: StandbyChildPool
    /// Nil ends one of its threads.
    let work: BlockingQueue<(@Sendable () -> Void)?>
    let host: any PluginHost
    let policy: TimeLimitPolicy
    let limits: AnswerLimits
    let shutdownLimit: Duration
    let nextID: @Sendable () -> UInt64
    let stopping: StopRequest
    /// Readable once everything is to be stopped.
    let stopDescriptor: Int32

    /// A wait until a deadline, or until everything is stopped.
    func bound(until deadline: ContinuousClock.Instant? = nil) -> SandboxBound {
        SandboxBound(deadline: deadline, stopping: stopping)
    }

    func roundTrip(
        on child: SandboxChild, channel: Int, deadline: ContinuousClock.Instant?, cpuLimit: Duration? = nil,
        stopDescriptor: Int32? = nil, endsOnStop: Bool = false, wishes: LateWishes? = nil,
        onOutput: OutputObserver? = nil
    ) -> SandboxRoundTrip {
        SandboxRoundTrip(
            child: child, channel: channel, deadline: deadline, policy: policy,
            floodLimit: 64 * limits.output, outputLimit: limits.output, cpuLimit: cpuLimit,
            stopDescriptor: stopDescriptor, endsOnStop: endsOnStop, wishes: wishes, onOutput: onOutput)
    }
}
