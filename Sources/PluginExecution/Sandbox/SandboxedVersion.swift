import AgentModel
import Foundation
import PythonEmbedding
import Sandbox

/// One version of one plugin in the sandbox: the process that holds it, and the one after that.
///
/// Unchecked because `state` is guarded by its lock, and `replacing` lets one thread at a time make a process.
final class SandboxedVersion: @unchecked Sendable {
    private struct State {
        var child: SandboxChild?
        var freeChannels: [Int] = []
        var inUse = 0
        var lastUse = ContinuousClock.now
        /// No call begins on it any more; called when the last has ended.
        var onIdle: (@Sendable () -> Void)?
        var isRetired = false
    }

    let image: PluginImage
    let kind: ChildNursery.Kind
    private let parts: SandboxParts
    private let state = BlockingLock(State())
    private let replacing = BlockingLock(())

    init(image: PluginImage, policy: SandboxPolicy, parts: SandboxParts) {
        self.image = image
        self.parts = parts
        kind = ChildNursery.Kind(policy: policy, channels: image.concurrency)
    }

    /// The process now, and what confines it.
    var child: SandboxChild? { state.withLock { $0.child } }

    // MARK: Processes

    /// A process with the plugin loaded, and a channel of it for one call. Blocks while a process is made.
    func checkOut() throws(PluginExecutionError) -> (child: SandboxChild, channel: Int) {
        while true {
            if let place = takePlace() { return place }
            _ = try ensureChild()
        }
    }

    private func takePlace() -> (SandboxChild, Int)? {
        state.withLock { state in
            guard let child = state.child, !child.hasEnded, let channel = state.freeChannels.popLast() else {
                return nil
            }
            state.inUse += 1
            return (child, channel)
        }
    }

    func checkIn(_ child: SandboxChild, channel: Int) {
        let idle = state.withLock { state -> (@Sendable () -> Void)? in
            state.inUse -= 1
            state.lastUse = .now
            if state.child === child { state.freeChannels.append(channel) }
            guard state.inUse == 0, let onIdle = state.onIdle else { return nil }
            state.onIdle = nil
            return onIdle
        }
        idle?()
    }

    /// Makes a process and loads the plugin into it, unless there is one. Returns what the script wrote.
    func ensureChild() throws(PluginExecutionError) -> String {
        try replacing.withLock { _ throws(PluginExecutionError) -> String in
            if let child = state.withLock({ $0.child }), !child.hasEnded {
                // All its channels are taken by calls of this plugin, which are no more than it has.
                return ""
            }
            let child: SandboxChild
            do throws(SandboxError) {
                child = try parts.nursery.take(kind)
            } catch {
                throw .sandbox(plugin: image.id, error)
            }
            let output: String
            do throws(PluginExecutionError) {
                output = try load(into: child)
            } catch {
                child.end()
                throw error
            }
            if kind.policy.api != .none {
                RequestService(
                    plugin: image.id, access: kind.policy.api, host: parts.host, channel: child.requests
                ).start()
            }
            let isRetired = state.withLock { state in
                (state.child, state.freeChannels) = (child, Array(child.calls.indices))
                return state.isRetired
            }
            if isRetired { child.end() } else { parts.nursery.replenish(kind) }
            return output
        }
    }

    private func load(into child: SandboxChild) throws(PluginExecutionError) -> String {
        let id = parts.nextID()
        let message = LoadMessage(
            id: id, pluginID: image.id.rawValue, path: image.path, script: image.script,
            outputLimit: parts.outputLimit)
        guard let order = message.encoded() else { throw .stopped }
        let limit = min(image.timeLimit ?? SandboxParts.loadLimit, SandboxParts.loadLimit)
        var raw = SandboxExchange.RawOutput()
        let end = parts.exchange(on: child, channel: 0, id: id, limit: limit).run(order, raw: &raw) {
            kind, reader throws(WireError) -> Result<String, LoadFailure> in
            guard kind == SandboxMessage.loaded, try reader.integer() == id else { throw .malformed }
            return try reader.integer() == 0 ? .success(try reader.text()) : .failure(try reader.loadFailure())
        }
        switch end {
        case .answered(.success(let output), stoppedBy: nil):
            return output + String(decoding: raw.output, as: UTF8.self) + String(decoding: raw.errors, as: UTF8.self)
        case .answered(.success, stoppedBy: _?), .stopped, .exhausted: throw .loadTimedOut(plugin: image.id)
        case .answered(.failure(let failure), _): throw .loadFailed(plugin: image.id, failure)
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
        parts.work.push { [self] in
            // What is wrong with it is said to the next call.
            _ = try? ensureChild()
        }
    }

    // MARK: The end

    /// Ends it when its calls have ended: `shutdown()` first.
    func retire(_ completion: @escaping @Sendable (RunError?) -> Void) {
        let finish: @Sendable () -> Void = { [self] in
            parts.work.push { [self] in
                completion(shutDown())
                parts.nursery.release(kind)
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
    func rest(after idleTime: Duration) {
        let isIdle = state.withLock { state in
            guard state.child != nil, state.inUse == 0, !state.isRetired,
                state.lastUse.duration(to: .now) >= idleTime
            else { return false }
            return true
        }
        guard isIdle else { return }
        parts.work.push { [self] in _ = shutDown() }
    }

    private func shutDown() -> RunError? {
        let child = state.withLock { state -> SandboxChild? in
            // A call may have come since it was seen to rest.
            guard state.inUse == 0 else { return nil }
            defer { (state.child, state.freeChannels) = (nil, []) }
            return state.child
        }
        guard let child, !child.hasEnded else { return nil }
        defer { child.end() }
        let id = parts.nextID()
        var writer = WireWriter(kind: SandboxMessage.shutDown)
        writer.integer(id)
        guard let order = writer.finished() else { return nil }
        var raw = SandboxExchange.RawOutput()
        let end = parts.exchange(on: child, channel: 0, id: id, limit: parts.shutdownLimit).run(order, raw: &raw) {
            kind, reader throws(WireError) -> PythonException? in
            guard kind == SandboxMessage.haveShutDown, try reader.integer() == id else { throw .malformed }
            return try reader.integer() == 0 ? nil : try reader.exception()
        }
        switch end {
        case .answered(let exception, stoppedBy: nil): return exception.map(RunError.init(shutdown:))
        case .answered, .stopped, .exhausted: return .shutdownTimedOut
        case .died, .flooded, .misbehaved: return nil
        }
    }

    /// Which of these functions can't be called; all of them where the process doesn't say.
    func missingFunctions(among functions: [String]) -> [String] {
        guard let child else { return functions }
        var writer = WireWriter(kind: SandboxMessage.listMissing)
        writer.integer(UInt64(functions.count))
        for function in functions { writer.text(function) }
        guard let order = writer.finished() else { return functions }
        let answer = child.withControl { control -> [String]? in
            try? control.send(order)
            return try? control.receive(within: .seconds(10)) { kind, reader throws(WireError) -> [String] in
                guard kind == SandboxMessage.missing else { throw .malformed }
                var missing: [String] = []
                for _ in 0..<min(try reader.integer(), UInt64(functions.count)) { missing.append(try reader.text()) }
                return missing
            }
        }
        return answer ?? functions
    }
}

/// What all sandboxed plugins of one executor share.
struct SandboxParts: Sendable {
    /// As in the other tier.
    static let loadLimit = Duration.seconds(60)

    let nursery: ChildNursery
    let work: BlockingQueue<@Sendable () -> Void>
    let host: any PluginHost
    let policy: TimeLimitPolicy
    let outputLimit: Int
    let shutdownLimit: Duration
    let nextID: @Sendable () -> UInt64

    func exchange(
        on child: SandboxChild, channel: Int, id: UInt64, limit: Duration?, cpuLimit: Duration? = nil,
        stopDescriptor: Int32? = nil
    ) -> SandboxExchange {
        SandboxExchange(
            child: child, channel: channel, id: id, limit: limit, policy: policy, floodLimit: 64 * outputLimit,
            outputLimit: outputLimit, cpuLimit: cpuLimit, stopDescriptor: stopDescriptor)
    }
}
