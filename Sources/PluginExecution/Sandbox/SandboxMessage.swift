import PythonEmbedding
import Sandbox

/// What the agent and a sandboxed process say to each other, by kind.
enum SandboxMessage {
    // To the process, on one of its call channels.
    static let load: UInt32 = 1
    static let call: UInt32 = 2
    static let shutDown: UInt32 = 3
    // Its answers.
    static let loaded: UInt32 = 11
    static let called: UInt32 = 12
    static let haveShutDown: UInt32 = 13
    // On the control channel.
    static let ask: UInt32 = 21
    static let inject: UInt32 = 22
    static let listMissing: UInt32 = 23
    static let missing: UInt32 = 33
    // On the request channel, from the process and back.
    static let request: UInt32 = 40
    static let response: UInt32 = 41
}

// MARK: Calls

struct CallMessage {
    var id: UInt64
    var function: String
    var arguments: String
    var outputLimit: Int

    func encoded() -> [UInt8]? {
        var writer = WireWriter(
            kind: SandboxMessage.call, capacity: 64 + function.utf8.count + arguments.utf8.count)
        writer.integer(id)
        writer.integer(UInt64(outputLimit))
        writer.text(function)
        writer.text(arguments)
        return writer.finished()
    }

    init(id: UInt64, function: String, arguments: String, outputLimit: Int) {
        self.id = id
        self.function = function
        self.arguments = arguments
        self.outputLimit = outputLimit
    }

    init(from reader: inout WireReader) throws(WireError) {
        id = try reader.integer()
        outputLimit = Int(truncatingIfNeeded: try reader.integer())
        function = try reader.text()
        arguments = try reader.text()
    }
}

struct LoadMessage {
    var id: UInt64
    var pluginID: String
    var path: String
    var script: [UInt8]
    var outputLimit: Int

    func encoded() -> [UInt8]? {
        var writer = WireWriter(kind: SandboxMessage.load, capacity: 512 + script.count)
        writer.integer(id)
        writer.integer(UInt64(outputLimit))
        writer.text(pluginID)
        writer.text(path)
        writer.blob(script)
        return writer.finished()
    }

    init(id: UInt64, pluginID: String, path: String, script: [UInt8], outputLimit: Int) {
        self.id = id
        self.pluginID = pluginID
        self.path = path
        self.script = script
        self.outputLimit = outputLimit
    }

    init(from reader: inout WireReader) throws(WireError) {
        id = try reader.integer()
        outputLimit = Int(truncatingIfNeeded: try reader.integer())
        pluginID = try reader.text()
        path = try reader.text()
        script = try reader.blob()
    }
}

// MARK: Answers

extension WireWriter {
    mutating func result(_ result: CallResult) {
        switch result.value {
        case .success(let text):
            integer(0)
            self.text(text)
        case .failure(let failure):
            failureCase(failure)
        }
        text(result.stdout)
        text(result.stderr)
    }

    private mutating func failureCase(_ failure: CallFailure) {
        switch failure {
        case .invalidArguments(let problem): tagged(1, problem)
        case .argumentMismatch(let exception): tagged(2, exception)
        case .functionMissing(let name, let methods):
            tagged(3, name)
            text(methods.joined(separator: " "))
        case .functionNotCallable(let type): tagged(4, type)
        case .raised(let exception): tagged(5, exception)
        case .exited(let exception): tagged(6, exception)
        case .timeLimitExceeded(let exception): tagged(7, exception)
        case .resultNotJSON(let exception): tagged(8, exception)
        case .outputLimitExceeded(let exception): tagged(9, exception)
        case .resultTooLarge(let limit):
            integer(10)
            integer(UInt64(limit))
        }
    }

    private mutating func tagged(_ tag: UInt64, _ text: String) {
        integer(tag)
        self.text(text)
    }

    private mutating func tagged(_ tag: UInt64, _ exception: PythonException) {
        integer(tag)
        self.exception(exception)
    }

    mutating func exception(_ exception: PythonException) {
        text(exception.type)
        text(exception.message)
        text(exception.traceback)
        integer(exception.raisedInside ? 1 : 0)
        integer(exception.isMemoryError ? 1 : 0)
    }

    mutating func loadFailure(_ failure: LoadFailure) {
        text(failure.stage.rawValue)
        exception(failure.exception)
        text(failure.output)
        integer(failure.exceededTimeLimit ? 1 : 0)
    }
}

extension WireReader {
    mutating func result() throws(WireError) -> CallResult {
        let value: Result<String?, CallFailure> =
            switch try integer() {
            case 0: .success(try optionalText())
            case let tag: .failure(try failure(tag))
            }
        return CallResult(value: value, stdout: try text(), stderr: try text())
    }

    private mutating func failure(_ tag: UInt64) throws(WireError) -> CallFailure {
        switch tag {
        case 1: .invalidArguments(try text())
        case 2: .argumentMismatch(try exception())
        case 3:
            .functionMissing(name: try text(), methods: try text().split(separator: " ").prefix(20).map(String.init))
        case 4: .functionNotCallable(type: try text())
        case 5: .raised(try exception())
        case 6: .exited(try exception())
        case 7: .timeLimitExceeded(try exception())
        case 8: .resultNotJSON(try exception())
        case 9: .outputLimitExceeded(try exception())
        case 10: .resultTooLarge(limit: Int(truncatingIfNeeded: try integer()))
        default: throw .malformed
        }
    }

    mutating func exception() throws(WireError) -> PythonException {
        PythonException(
            type: try text(), message: try text(), traceback: try optionalText(), raisedInside: try integer() != 0,
            isMemoryError: try integer() != 0)
    }

    mutating func loadFailure() throws(WireError) -> LoadFailure {
        guard let stage = LoadFailure.Stage(rawValue: try text()) else { throw .malformed }
        return LoadFailure(
            stage: stage, exception: try exception(), output: try text(), exceededTimeLimit: try integer() != 0)
    }
}
