import AgentModel
import Glibc
import PythonEmbedding
import Sandbox
import Threads

/// Runs plugin code in a sandboxed process: what the agent asks for, one call at a time on each channel.
///
/// Unchecked because `plugin` is guarded by its lock and everything else doesn't change.
public final class SandboxWorker: @unchecked Sendable {
    private let process: SandboxedProcess
    private let interpreter: PythonInterpreter
    private let plugin = BlockingLock<PluginInstance?>(nil)
    private let slots: BlockingLock<[Int: CallSlot]> = BlockingLock([:])

    /// Whether this process was started to be one.
    public static var isRequested: Bool { SandboxedProcess.isRequested }

    /// The life of a sandboxed process: confines it, starts Python and answers until the agent ends it.
    public static func run() -> Never {
        let process = SandboxedProcess.enter()
        do throws(PythonEmbeddingError) {
            let interpreter = try PythonInterpreter.start(
                pythonPath: process.plan.pythonPath, host: AgentHost(process: process), crashes: process.stacks)
            let worker = SandboxWorker(process: process, interpreter: interpreter)
            try worker.startChannels()
            process.declareReady()
            worker.serveControl()
        } catch {
            process.declareFailed(error.message)
        }
        _exit(1)
    }

    private init(process: SandboxedProcess, interpreter: PythonInterpreter) {
        self.process = process
        self.interpreter = interpreter
    }

    // MARK: Calls

    private func startChannels() throws(PythonEmbeddingError) {
        ForkedChild.watch()
        let started = BlockingQueue<PythonEmbeddingError?>()
        for index in process.calls.indices {
            try interpreter.startThread(name: "python-\(index + 1)") { [self] attachment in
                let threadID = attachment.threadID
                let interpreter = interpreter
                let slot: CallSlot
                do throws(PythonEmbeddingError) {
                    slot = try attachment.withGIL { gil throws(PythonEmbeddingError) in
                        try CallSlot(interpreter: interpreter, threadID: threadID, gil: gil)
                    }
                } catch {
                    return started.push(error)
                }
                slots.withLock { $0[index] = slot }
                started.push(nil)
                serve(process.calls[index], on: slot, attachment)
            }
        }
        for _ in process.calls.indices {
            if let error = started.pop() { throw error }
        }
    }

    private enum Order {
        case load(LoadOrder)
        case call(CallOrder)
        case shutDown(id: UInt64)
    }

    private func serve(_ channel: WireChannel, on slot: CallSlot, _ attachment: borrowing PythonAttachment) {
        do throws(WireError) {
            while true {
                let order = try channel.receive { kind, reader throws(WireError) -> Order in
                    switch kind {
                    case SandboxMessage.load: .load(try LoadOrder(from: &reader))
                    case SandboxMessage.call: .call(try CallOrder(from: &reader))
                    case SandboxMessage.shutDown: .shutDown(id: try reader.integer())
                    default: throw .malformed
                    }
                }
                let answer: [UInt8]? = attachment.withGIL { [self] gil in
                    let answer = carryOut(order, on: slot, channel, gil: gil)
                    // What a plugin forked comes back here too, and must answer nothing.
                    ForkedChild.endIfSo()
                    return answer
                }
                guard let answer else { break }
                try channel.send(answer)
            }
        } catch {
            // The agent is gone, or says what can't be understood: either way no one waits for this process.
        }
        _exit(0)
    }

    private func carryOut(
        _ order: Order, on slot: CallSlot, _ channel: WireChannel, gil: borrowing GIL
    ) -> [UInt8]? {
        switch order {
        case .load(let message):
            var writer = WireWriter(kind: SandboxMessage.loaded)
            writer.integer(message.id)
            let result = slot.load(
                script: message.script, path: message.path, pluginID: message.pluginID, id: message.id,
                outputLimit: message.outputLimit,
                onOutput: message.sendsOutput ? Self.sender(of: message.id, through: channel) : nil, gil: gil)
            switch result {
            case .success(let loaded):
                plugin.withLock { $0 = loaded.plugin }
                writer.integer(0)
                writer.text(loaded.output)
            case .failure(let failure):
                writer.integer(1)
                writer.loadFailure(failure)
            }
            return writer.finished()
        case .call(let message):
            let instance = plugin.withLock { $0 }
            let result =
                instance.map {
                    slot.call(
                        message.function, of: $0, arguments: message.arguments, id: message.id,
                        outputLimit: message.limits.output, resultLimit: message.limits.result,
                        runName: "\(message.id)",
                        onOutput: message.sendsOutput ? Self.sender(of: message.id, through: channel) : nil, gil: gil)
                }
                ?? CallResult(
                    value: .failure(.functionMissing(name: message.function, methods: [])), stdout: "", stderr: "")
            return answer(message.id, result, message.limits)
        case .shutDown(let id):
            var writer = WireWriter(kind: SandboxMessage.haveShutDown)
            writer.integer(id)
            let exception = plugin.withLock { $0 }.flatMap { slot.shutDown($0, id: id, gil: gil) }
            writer.integer(exception == nil ? 0 : 1)
            if let exception { writer.exception(exception) }
            return writer.finished()
        }
    }

    /// Sends what a call writes to the agent before the call's answer.
    private static func sender(of id: UInt64, through channel: WireChannel) -> OutputObserver {
        { stream, text in
            var rest = text.unicodeScalars[...]
            while !rest.isEmpty {
                let part = String(rest.prefix(OutputMessage.longest))
                rest = rest.dropFirst(OutputMessage.longest)
                guard let message = OutputMessage(id: id, stream: stream, text: part).encoded() else { return }
                try? channel.send(message)
            }
        }
    }

    private func answer(_ id: UInt64, _ result: CallResult, _ limits: AnswerLimits) -> [UInt8]? {
        // The agent would take it for an attack.
        if case .success(let text?) = result.value, text.utf8.count > limits.result {
            let failure = CallFailure.resultTooLarge(limit: limits.result)
            return answer(
                id, CallResult(value: .failure(failure), stdout: result.stdout, stderr: result.stderr), limits)
        }
        var writer = WireWriter(kind: SandboxMessage.called)
        writer.integer(id)
        var notes: CallNotes = []
        if case .failure = result.value, isScratchFull { notes.insert(.scratchIsFull) }
        if result.programs != nil { notes.insert(.startedPrograms) }
        writer.integer(notes.rawValue)
        writer.result(result)
        return writer.finished()
    }

    /// Whether less than a sixteenth of the scratch folder is free, where that is limited.
    private var isScratchFull: Bool {
        guard case .mounted = process.plan.scratch else { return false }
        var status = statvfs()
        guard statvfs(process.plan.scratch.path, &status) == 0 else { return false }
        return status.f_bavail < status.f_blocks / 16 || status.f_favail < status.f_files / 16
    }

    // MARK: Control

    private enum Control {
        case ask(channel: Int, id: UInt64)
        case inject(channel: Int, id: UInt64)
        case observe(channel: Int, id: UInt64)
        case tellStack(channel: Int, id: UInt64)
        case dumpStacks(channel: Int, id: UInt64)
        case listMissing(id: UInt64, [String])
    }

    /// On the main thread, which never takes the GIL itself: it must hear the agent whatever the plugin does.
    private func serveControl() {
        while let control = try? process.control.receive(Self.readControl) {
            switch control {
            case .ask(let channel, let id):
                guard let slot = slots.withLock({ $0[channel] }) else { continue }
                interpreter.enqueue { gil in slot.requestStop(of: id, gil: gil) }
            case .inject(let channel, let id):
                guard let slot = slots.withLock({ $0[channel] }) else { continue }
                slot.programs(of: id)?.stop()
                interpreter.enqueue { gil in slot.inject(into: id, gil: gil) }
            case .observe(let channel, let id):
                guard let slot = slots.withLock({ $0[channel] }) else { continue }
                let observer = Self.sender(of: id, through: process.calls[channel])
                interpreter.enqueue { gil in slot.observe(id, observer, gil: gil) }
            case .tellStack(let channel, let id):
                guard let slot = slots.withLock({ $0[channel] }) else { continue }
                interpreter.enqueue { [process] gil in
                    StackText.write(slot.stack(of: id, gil: gil) ?? "", of: id, to: process.stacks)
                }
            case .dumpStacks(let channel, let id):
                guard let slot = slots.withLock({ $0[channel] }) else { continue }
                StackText.write(ThreadStacks.dump()?.text(of: slot) ?? "", of: id, to: process.stacks)
            case .listMissing(let id, let functions):
                interpreter.enqueue { [self] gil in answer(functions, id: id, gil: gil) }
            }
        }
    }

    private static func readControl(_ kind: UInt32, _ reader: inout WireReader) throws(WireError) -> Control {
        switch kind {
        case SandboxMessage.ask: return .ask(channel: Int(try reader.integer()), id: try reader.integer())
        case SandboxMessage.inject: return .inject(channel: Int(try reader.integer()), id: try reader.integer())
        case SandboxMessage.observe: return .observe(channel: Int(try reader.integer()), id: try reader.integer())
        case SandboxMessage.tellStack: return .tellStack(channel: Int(try reader.integer()), id: try reader.integer())
        case SandboxMessage.dumpStacks:
            return .dumpStacks(channel: Int(try reader.integer()), id: try reader.integer())
        case SandboxMessage.listMissing:
            let id = try reader.integer()
            var functions: [String] = []
            for _ in 0..<(try reader.integer()) { functions.append(try reader.text()) }
            return .listMissing(id: id, functions)
        default: throw .malformed
        }
    }

    private func answer(_ functions: [String], id: UInt64, gil: borrowing GIL) {
        let instance = plugin.withLock { $0 }
        var writer = WireWriter(kind: SandboxMessage.missing)
        writer.integer(id)
        let missing = functions.filter { function in !(instance?.hasMethod(function, gil: gil) ?? false) }
        writer.integer(UInt64(missing.count))
        for function in missing { writer.text(function) }
        if let message = writer.finished() { try? process.control.send(message) }
    }
}

/// Hands what plugins ask of the backend to the agent, one request after the other.
private struct AgentHost: PluginHost {
    let process: SandboxedProcess
    private let turn = BlockingLock(())

    init(process: SandboxedProcess) {
        self.process = process
    }

    func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        guard process.plan.policy.api != .none else { return .notAllowed(.none) }
        return turn.withLock { _ in
            var writer = WireWriter(kind: SandboxMessage.request)
            writer.text(method)
            writer.text(path)
            writer.text(body)
            guard let message = writer.finished() else {
                return .failed(code: "api.too_large", message: "the request is too large; send less at a time")
            }
            do throws(WireError) {
                try process.requests.send(message)
                return try process.requests.receive { kind, reader throws(WireError) -> PluginHostResponse in
                    guard kind == SandboxMessage.response else { throw .malformed }
                    return try reader.response()
                }
            } catch {
                return .failed(code: "api.no_agent", message: "the agent does not answer; it is about to end this run")
            }
        }
    }
}

extension WireReader {
    fileprivate mutating func response() throws(WireError) -> PluginHostResponse {
        switch try integer() {
        case 0: .answered(status: Int(truncatingIfNeeded: try integer()), body: try blob())
        default: .failed(code: try text(), message: try text())
        }
    }
}
