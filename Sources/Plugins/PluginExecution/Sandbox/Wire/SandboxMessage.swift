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
    /// What a call, or a script while it is loaded, has written; comes before the answer, any number of times.
    static let output: UInt32 = 14
    // On the control channel.
    static let ask: UInt32 = 21
    static let inject: UInt32 = 22
    static let listMissing: UInt32 = 23
    static let observe: UInt32 = 24
    static let tellStack: UInt32 = 25
    static let dumpStacks: UInt32 = 26
    static let missing: UInt32 = 33
    // On the request channel, from the process and back.
    static let request: UInt32 = 40
    static let response: UInt32 = 41
}

/// Bytes of UTF-8 that the parts of an answer may have. The child cuts what is longer, and the agent takes an answer that
/// isn't cut for no answer.
struct AnswerLimits: Sendable, Equatable {
    /// The result as JSON text.
    var result: Int
    /// Each stream.
    var output: Int

    /// Type names.
    static let name = 1 << 10
    /// What an exception says.
    static let message = 64 << 10
    static let traceback = 128 << 10
    /// What stands where output was cut.
    private static let mark = 256

    var stream: Int { output + Self.mark }

    /// The whole message, with what is around the parts.
    var message: Int { result + 2 * stream + 2 * (Self.name + Self.message + Self.traceback) + 4096 }
}

/// What a call's answer says beside its result.
struct CallNotes: OptionSet {
    let rawValue: UInt64

    static let scratchIsFull = CallNotes(rawValue: 1)
    /// By functions of Python.
    static let startedPrograms = CallNotes(rawValue: 2)
}

// MARK: Answers

struct OutputMessage {
    /// Unicode scalars that it may have.
    static let longest = 16 << 10

    var id: UInt64
    var stream: StandardStream
    var text: String

    func encoded() -> [UInt8]? {
        var writer = WireWriter(kind: SandboxMessage.output, capacity: 64 + text.utf8.count)
        writer.integer(id)
        writer.integer(stream.rawValue)
        writer.text(text)
        return writer.finished()
    }

    init(id: UInt64, stream: StandardStream, text: String) {
        self.id = id
        self.stream = stream
        self.text = text
    }

    init(from reader: inout WireReader) throws(WireError) {
        id = try reader.integer()
        guard let stream = StandardStream(rawValue: try reader.integer()) else { throw .malformed }
        self.stream = stream
        text = try reader.text(limit: 4 * Self.longest)
    }
}

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
        self.text(text.cut(to: AnswerLimits.message))
    }

    private mutating func tagged(_ tag: UInt64, _ exception: PythonException) {
        integer(tag)
        self.exception(exception)
    }

    mutating func exception(_ exception: PythonException) {
        text(exception.type.cut(to: AnswerLimits.name))
        text(exception.message.cut(to: AnswerLimits.message))
        text(exception.traceback?.cut(to: AnswerLimits.traceback))
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

extension String {
    /// Its beginning, of at most so many bytes of UTF-8.
    fileprivate func cut(to limit: Int) -> String {
        guard utf8.count > limit else { return self }
        let mark = "\u{2026}"
        // Where a character would be cut in two, its first bytes become a replacement character, which is longer.
        return String(decoding: utf8.prefix(limit - 2 * mark.utf8.count), as: UTF8.self) + mark
    }
}

extension WireReader {
    mutating func result(_ limits: AnswerLimits) throws(WireError) -> CallResult {
        let value: Result<String?, CallFailure> =
            switch try integer() {
            case 0: .success(try optionalText(limit: limits.result))
            case let tag: .failure(try failure(tag))
            }
        return CallResult(
            value: value, stdout: try text(limit: limits.stream), stderr: try text(limit: limits.stream))
    }

    private mutating func failure(_ tag: UInt64) throws(WireError) -> CallFailure {
        switch tag {
        case 1: .invalidArguments(try text(limit: AnswerLimits.message))
        case 2: .argumentMismatch(try exception())
        case 3:
            .functionMissing(
                name: try text(limit: AnswerLimits.name),
                methods: try text(limit: AnswerLimits.message).split(separator: " ").prefix(20).map(String.init))
        case 4: .functionNotCallable(type: try text(limit: AnswerLimits.message))
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
            type: try text(limit: AnswerLimits.name), message: try text(limit: AnswerLimits.message),
            traceback: try optionalText(limit: AnswerLimits.traceback), raisedInside: try integer() != 0,
            isMemoryError: try integer() != 0)
    }

    mutating func loadFailure(_ limits: AnswerLimits) throws(WireError) -> LoadFailure {
        guard let stage = LoadFailure.Stage(rawValue: try text(limit: AnswerLimits.name)) else { throw .malformed }
        return LoadFailure(
            stage: stage, exception: try exception(), output: try text(limit: 2 * limits.stream),
            exceededTimeLimit: try integer() != 0)
    }
}
