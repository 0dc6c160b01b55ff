internal import CPython
internal import CStacks
import Files
import Foundation
import Threads

/// Where the threads of this process are in Python code, told while another thread holds the GIL.
///
/// Python itself writes it (faulthandler), in a copy of the process: frames that move while they are read may cause a fault, which
/// ends the copy alone.
public enum ThreadStacks {
    /// How long a copy may take, in milliseconds.
    private static let limit: Int32 = 500
    /// What the copy writes to: a pipe, whose ends never wait. What doesn't fit into it is left out.
    private struct Pipe {
        let reading: Int32
        let writing: Int32
        /// Plugin code may close the descriptors, and others may have their numbers then.
        let identity: FileIdentity?

        var isOpen: Bool {
            identity != nil && FileIdentity(ofDescriptor: reading) == identity
                && FileIdentity(ofDescriptor: writing) == identity
        }
    }

    private static let pipe = BlockingLock<Pipe?>(nil)

    /// Has Python write where its threads are when ``dump()`` asks for it.
    ///
    /// - Parameter crashes: where it is written when the process crashes; nil for standard error.
    static func prepare(crashes: Int32?, bootstrap: Bootstrap, gil: borrowing GIL) {
        var ends: [Int32] = [-1, -1]
        if rb_open_stack_pipe(&ends) == 0 {
            let identity = FileIdentity(ofDescriptor: ends[0])
            pipe.withLock { $0 = Pipe(reading: ends[0], writing: ends[1], identity: identity) }
            call(bootstrap.writeStacks, rb_stack_signal(), ends[1], gil: gil)
            rb_keep_stack_handler()
        }
        if let crashes { call(bootstrap.writeCrashes, crashes, gil: gil) }
    }

    private static func call(_ function: PyPointer, _ numbers: Int32..., gil: borrowing GIL) {
        guard let arguments = PyTuple_New(numbers.count) else { return PyErr_Clear() }
        let owned = PythonObject(owning: arguments)
        for (index, number) in numbers.enumerated() {
            PyTuple_SetItem(owned.pointer, index, PyLong_FromLong(Int(number)))
        }
        guard let result = PyObject_CallObject(function, owned.pointer) else { return PyErr_Clear() }
        rb_decref(result)
    }

    /// Where all threads are now, but for those that a hundred are newer than: `faulthandler` writes no more. Milliseconds, and a
    /// second at most; must not be called on a thread that others wait for. Nil where it can't be told.
    public static func dump() -> StackDump? {
        let bytes = pipe.withLock { pipe -> [UInt8]? in
            guard let pipe, pipe.isOpen else { return nil }
            // Of a signal that wasn't ours.
            _ = drain(pipe.reading)
            return rb_signal_copy(rb_stack_signal(), limit) == 0 ? drain(pipe.reading) : nil
        }
        return bytes.map { StackDump(text: String(decoding: $0, as: UTF8.self)) }
    }

    private static func drain(_ descriptor: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: StackDump.limit)
        while bytes.count < StackDump.limit {
            let count = Foundation.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return bytes
    }
}

/// What `faulthandler` writes, the innermost frame first, made into what reads like a traceback.
public struct StackDump: Sendable {
    /// Bytes that are read of one.
    public static let limit = 128 << 10

    private struct Thread: Sendable {
        var number: UInt?
        var isCurrent: Bool
        /// The innermost first.
        var frames: [String] = []
    }

    private var threads: [Thread] = []
    private static let frameMark = "  File \""
    private static let ownMark = frameMark + EmbeddedPython.folder + "/"

    /// - Parameter text: not believed: a plugin may have written into it.
    public init(text: String) {
        for line in text.split(separator: "\n") {
            if line.hasSuffix("(most recent call first):") {
                let isCurrent = line.hasPrefix("Current thread")
                let number = line.split(separator: " ").first { $0.hasPrefix("0x") }
                threads.append(
                    Thread(number: number.flatMap { UInt($0.dropFirst(2), radix: 16) }, isCurrent: isCurrent))
            } else if line.hasPrefix(Self.frameMark), !threads.isEmpty, !line.hasPrefix(Self.ownMark) {
                threads[threads.count - 1].frames.append(Self.frame(line))
            }
        }
    }

    /// `  File "disk.py", line 3 in usage` as a traceback has it.
    private static func frame(_ line: Substring) -> String {
        guard let place = line.range(of: "\", line ", options: .backwards),
            let end = line[place.upperBound...].firstIndex(of: " ")
        else { return String(line) }
        return line[..<end] + "," + line[end...]
    }

    /// Where the call that runs on a slot is.
    public func text(of slot: CallSlot) -> String? { text(of: slot.threadID) }

    /// Text like a traceback. Nil where no thread is in Python code that isn't our own.
    ///
    /// - Parameter number: of the thread that is wanted; nil for all.
    public func text(of number: UInt? = nil) -> String? {
        let wanted = threads.filter { !$0.frames.isEmpty && (number == nil || $0.number == number) }
        guard !wanted.isEmpty else { return nil }
        // The one that crashed comes first.
        return (wanted.filter(\.isCurrent) + wanted.filter { !$0.isCurrent }).enumerated().map { index, thread in
            let title = index == 0 ? "Stack (most recent call last):\n" : "Another thread (most recent call last):\n"
            return title + thread.frames.reversed().map { "\($0)\n" }.joined()
        }.joined()
    }
}
