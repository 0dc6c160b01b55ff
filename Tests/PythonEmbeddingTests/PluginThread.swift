import PythonEmbedding
import Synchronization
import Testing
import Threads

/// A thread with a place in the interpreter and a call slot, as the executor has them.
final class PluginThread: Sendable {
    typealias Work = @Sendable (CallSlot, borrowing GIL) -> Void

    let python: PythonInterpreter
    private let queue = BlockingQueue<Work?>()
    private static let lastID = Atomic<UInt64>(0)

    init(_ host: (any PluginHost)? = nil) throws {
        python = try host.map { try PythonInterpreter.start(host: $0) } ?? PythonInterpreter.start()
        let python = python
        let queue = queue
        try python.startThread(name: "test") { attachment in
            let threadID = attachment.threadID
            let slot = attachment.withGIL { gil in try? CallSlot(interpreter: python, threadID: threadID, gil: gil) }
            guard let slot else { return }
            while let work = queue.pop() {
                attachment.withGIL { gil in work(slot, gil) }
            }
            attachment.withGIL { gil in slot.close(gil: gil) }
        }
    }

    /// Ends the thread; what was asked of it before is done first.
    func stop() {
        queue.push(nil)
    }

    static func nextID() -> UInt64 { lastID.add(1, ordering: .relaxed).newValue }

    func run<Value: Sendable>(_ body: @escaping @Sendable (CallSlot, borrowing GIL) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            queue.push { slot, gil in continuation.resume(returning: body(slot, gil)) }
        }
    }

    func load(
        _ script: String, id: String = "plugin", path: String = "/plugins/plugin.py"
    ) async -> Result<(plugin: PluginInstance, output: String), LoadFailure> {
        await run { slot, gil in
            slot.load(script: Array(script.utf8), path: path, pluginID: id, id: PluginThread.nextID(), gil: gil)
        }
    }

    func call(
        _ function: String, of plugin: PluginInstance, arguments: String = "{}", outputLimit: Int = 1 << 20
    ) async -> CallResult {
        await run { slot, gil in
            slot.call(
                function, of: plugin, arguments: arguments, id: PluginThread.nextID(), outputLimit: outputLimit,
                gil: gil)
        }
    }

    /// Loads a script, calls `run` of its plugin and takes it down again.
    func callOnce(_ script: String, arguments: String = "{}", outputLimit: Int = 1 << 20) async throws -> CallResult {
        let id = "once-\(PluginThread.nextID())"
        let plugin = try await load(script, id: id, path: "/plugins/\(id).py").get().plugin
        let result = await call("run", of: plugin, arguments: arguments, outputLimit: outputLimit)
        await run { _, gil in plugin.forget(gil: gil) }
        return result
    }
}

extension CallResult {
    var text: String? {
        get throws { try value.get() }
    }

    var failure: CallFailure? {
        if case .failure(let failure) = value { failure } else { nil }
    }

    var exception: PythonException? {
        switch failure {
        case .raised(let exception), .exited(let exception), .timeLimitExceeded(let exception),
            .resultNotJSON(let exception), .argumentMismatch(let exception):
            exception
        default: nil
        }
    }
}
