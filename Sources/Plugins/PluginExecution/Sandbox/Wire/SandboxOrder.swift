import PythonEmbedding
import Sandbox

/// Something that a sandboxed process is to do, on one of its call channels, and what it answers.
protocol SandboxOrder {
    associatedtype Answer

    /// Named in the answer, so that it is known to be one to this order.
    var id: UInt64 { get }
    /// Bytes that the answer may have: no more are taken in.
    var answerLimit: Int { get }

    /// Nil where it is too long for a message.
    func encoded() -> [UInt8]?

    /// - Throws: `WireError.malformed` for what is no answer to this order.
    func answer(from reader: inout WireReader, kind: UInt32) throws(WireError) -> Answer
}

/// Call a method.
struct CallOrder: SandboxOrder {
    var id: UInt64
    var function: String
    var arguments: String
    var limits: AnswerLimits
    /// Whether what it writes is sent while it runs.
    var sendsOutput: Bool

    func encoded() -> [UInt8]? {
        var writer = WireWriter(
            kind: SandboxMessage.call, capacity: 64 + function.utf8.count + arguments.utf8.count)
        writer.integer(id)
        writer.integer(UInt64(limits.output))
        writer.integer(UInt64(limits.result))
        writer.integer(sendsOutput ? 1 : 0)
        writer.text(function)
        writer.text(arguments)
        return writer.finished()
    }

    init(id: UInt64, function: String, arguments: String, limits: AnswerLimits, sendsOutput: Bool) {
        self.sendsOutput = sendsOutput
        self.id = id
        self.function = function
        self.arguments = arguments
        self.limits = limits
    }

    init(from reader: inout WireReader) throws(WireError) {
        id = try reader.integer()
        let output = Int(truncatingIfNeeded: try reader.integer())
        limits = AnswerLimits(result: Int(truncatingIfNeeded: try reader.integer()), output: output)
        sendsOutput = try reader.integer() != 0
        function = try reader.text()
        arguments = try reader.text()
    }

    var answerLimit: Int { limits.message }

    func answer(from reader: inout WireReader, kind: UInt32) throws(WireError) -> CallAnswer {
        guard kind == SandboxMessage.called, try reader.integer() == id else { throw .malformed }
        let notes = CallNotes(rawValue: try reader.integer())
        return CallAnswer(result: try reader.result(limits), notes: notes)
    }
}

struct CallAnswer {
    var result: CallResult
    var notes: CallNotes
}

/// Make a plugin of a script.
struct LoadOrder: SandboxOrder {
    var id: UInt64
    var pluginID: String
    var path: String
    var script: [UInt8]
    var outputLimit: Int
    var sendsOutput: Bool

    func encoded() -> [UInt8]? {
        var writer = WireWriter(kind: SandboxMessage.load, capacity: 512 + script.count)
        writer.integer(id)
        writer.integer(UInt64(outputLimit))
        writer.integer(sendsOutput ? 1 : 0)
        writer.text(pluginID)
        writer.text(path)
        writer.blob(script)
        return writer.finished()
    }

    init(id: UInt64, pluginID: String, path: String, script: [UInt8], outputLimit: Int, sendsOutput: Bool) {
        self.sendsOutput = sendsOutput
        self.id = id
        self.pluginID = pluginID
        self.path = path
        self.script = script
        self.outputLimit = outputLimit
    }

    init(from reader: inout WireReader) throws(WireError) {
        id = try reader.integer()
        outputLimit = Int(truncatingIfNeeded: try reader.integer())
        sendsOutput = try reader.integer() != 0
        pluginID = try reader.text()
        path = try reader.text()
        script = try reader.blob()
    }

    private var limits: AnswerLimits { AnswerLimits(result: 0, output: outputLimit) }

    var answerLimit: Int { limits.message }

    /// What the script wrote, or why it could not be loaded.
    func answer(from reader: inout WireReader, kind: UInt32) throws(WireError) -> Result<String, LoadFailure> {
        guard kind == SandboxMessage.loaded, try reader.integer() == id else { throw .malformed }
        return try reader.integer() == 0
            ? .success(try reader.text(limit: 2 * limits.stream)) : .failure(try reader.loadFailure(limits))
    }
}

/// Run the plugin's `shutdown()`.
struct ShutDownOrder: SandboxOrder {
    var id: UInt64

    var answerLimit: Int { AnswerLimits(result: 0, output: 0).message }

    func encoded() -> [UInt8]? {
        var writer = WireWriter(kind: SandboxMessage.shutDown)
        writer.integer(id)
        return writer.finished()
    }

    /// What it raised.
    func answer(from reader: inout WireReader, kind: UInt32) throws(WireError) -> PythonException? {
        guard kind == SandboxMessage.haveShutDown, try reader.integer() == id else { throw .malformed }
        return try reader.integer() == 0 ? nil : try reader.exception()
    }
}
