internal import AgentModel
internal import CPython
internal import Glibc
internal import Synchronization
import Threads

/// The programs that one call starts: the variable that tells them from others, and the pipes into which they write what
/// they would otherwise write to the agent's own standard output and error.
///
/// Made when the call starts its first program.
public final class RunPrograms: Sendable {
    /// The environment variable that names the run.
    public static let variable = "RUNBOOK_RUN_ID"
    /// What every mark of this process begins with: its id and a random number.
    public static let session = "\(getpid())-\(String(UInt64.random(in: 0...UInt64.max), radix: 36)):"

    /// What ``variable`` is for these programs.
    public let mark: String
    let output: ProgramPipe
    let errors: ProgramPipe
    private let isStopped = Atomic<Bool>(false)

    private static let lastNumber = Atomic<UInt64>(0)

    /// Nil where the process has no descriptors, or no thread, left.
    fileprivate init?(name: String?, limit: Int) {
        guard ProgramPipes.startReading(), let output = ProgramPipe(limit: limit) else { return nil }
        guard let errors = ProgramPipe(limit: limit) else {
            output.finish()
            return nil
        }
        mark = Self.session + (name ?? "\(Self.lastNumber.add(1, ordering: .relaxed).newValue)")
        (self.output, self.errors) = (output, errors)
        ProgramPipes.add(output)
        ProgramPipes.add(errors)
    }

    /// From now on the call may start no program any more: it is being stopped.
    public func stop() { isStopped.store(true, ordering: .releasing) }

    /// Whether they have been ended, or are being, with the run.
    public var wasStopped: Bool { isStopped.load(ordering: .acquiring) }

    /// Whether they wrote so much that nobody reads them any more.
    var isFlooded: Bool { output.isFlooded || errors.isFlooded }

    /// The call has ended: what they write from now on goes to the log.
    func finish() {
        output.finish()
        errors.finish()
    }

    /// Who is told when there is something to take that the programs have written.
    func setNotice(_ notice: ProgramNotice) {
        for pipe in [output, errors] { pipe.setNotice(notice) }
    }

    /// Takes what is written that is no run's, such as what programs write when theirs has ended. Called on a thread of
    /// ours that reads for all runs, and so must not wait. Without it, it goes to standard error as far as that can be
    /// written to.
    public static func setLateOutput(_ take: @escaping @Sendable (_ text: String) -> Void) {
        ProgramPipes.late.withLock { $0.take = take }
    }

    /// Gives something to whoever takes what is no run's.
    public static func takeLateOutput(_ text: String) { ProgramPipes.log(text) }
}

// MARK: Which call it is

/// The calls that have started programs, for those who ask without the GIL.
enum StartedPrograms {
    private struct Key: Hashable {
        let slot: ObjectIdentifier
        let call: UInt64
    }

    private static let table = BlockingLock<[Key: RunPrograms]>([:])

    static func add(_ programs: RunPrograms, slot: CallSlot, call: UInt64) {
        table.withLock { $0[Key(slot: ObjectIdentifier(slot), call: call)] = programs }
    }

    static func remove(slot: CallSlot, call: UInt64) {
        table.withLock { $0[Key(slot: ObjectIdentifier(slot), call: call)] = nil }
    }

    static func find(slot: CallSlot, call: UInt64) -> RunPrograms? {
        table.withLock { $0[Key(slot: ObjectIdentifier(slot), call: call)] }
    }

    static var marks: Set<String> { table.withLock { Set($0.values.map(\.mark)) } }
}

extension RunPrograms {
    /// The marks of the calls that are running now.
    public static var runningMarks: Set<String> { StartedPrograms.marks }
}

extension CallSlot {
    /// What the call that runs here has started; nil where it has started nothing, or doesn't run here now. From any
    /// thread.
    public nonisolated func programs(of call: UInt64) -> RunPrograms? { StartedPrograms.find(slot: self, call: call) }
}

// MARK: What Python calls

/// The builtin functions of the module `programs`.
enum ProgramFunctions {
    /// Unchecked because it is only touched with the GIL.
    private final class Slots: @unchecked Sendable {
        var slots: [ObjectIdentifier: CallSlot] = [:]
    }

    private static let slots = Slots()

    static func add(_ slot: CallSlot) { slots.slots[ObjectIdentifier(slot)] = slot }

    static func remove(_ slot: CallSlot) { slots.slots[ObjectIdentifier(slot)] = nil }

    /// `begin_program(call)` → `(descriptor for its output, for its errors, mark, number of the output's pipe, of the
    /// errors')`; None where the call doesn't run any more, or the process can give it no pipes; False where it is
    /// being stopped and may start nothing more.
    static func beginProgram(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        let gil = GIL()
        guard let call = arguments?[0], count == 1 else {
            rb_set_error(rb_exc_type_error(), "begin_program takes 1 argument")
            return nil
        }
        guard let slot = slots.slots.values.first(where: { $0.isRunning(call) }),
            let programs = slot.programsOfRunningCall()
        else { return PythonObject(borrowing: rb_none()).take() }
        guard !programs.wasStopped else { return PyBool_FromLong(0) }
        return gil.tuple(
            PyLong_FromLong(Int(programs.output.writingEnd)), PyLong_FromLong(Int(programs.errors.writingEnd)),
            gil.string(programs.mark), PyLong_FromLong(programs.output.number),
            PyLong_FromLong(programs.errors.number))
    }

    /// `take_output(number of a pipe)` → the bytes that came out of it since it was asked last.
    static func takeOutput(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        let gil = GIL()
        guard let number = arguments?[0], count == 1 else {
            rb_set_error(rb_exc_type_error(), "take_output takes 1 argument")
            return nil
        }
        return gil.bytes(ProgramPipes.find(PyLong_AsLong(number))?.take() ?? [])
    }
}

extension CallSlot {
    static func makePrograms(name: String?, limit: Int) -> RunPrograms? { RunPrograms(name: name, limit: limit) }
}
