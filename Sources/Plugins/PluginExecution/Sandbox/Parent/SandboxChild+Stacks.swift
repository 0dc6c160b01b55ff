import Glibc
import PythonEmbedding
import Sandbox
import Threads

extension SandboxChild {
    /// How long the GIL of the process is waited for before it is looked without it, and how long that may take.
    private static let patience = Duration.milliseconds(100)
    private static let dumpPatience = Duration.milliseconds(700)

    /// How it is looked.
    enum Look {
        case withGIL
        case withoutGIL
        /// Without it where it doesn't come in time.
        case either
    }

    /// Where a call is in its code. The call goes on meanwhile. Blocks, for as long as both patiences at most.
    /// - Returns: nil where the call has ended, or where it can't be told.
    func stack(of id: UInt64, channel: Int, _ look: Look) -> String? {
        withStacks { descriptor in
            // What came too late for somebody else.
            _ = Self.read(descriptor)
            var text: String?
            if look != .withoutGIL {
                tell(SandboxMessage.tellStack, of: id, channel: channel)
                text = Self.wait(on: descriptor, for: id, atMost: Self.patience)
            }
            if text == nil, look != .withGIL {
                tell(SandboxMessage.dumpStacks, of: id, channel: channel)
                text = Self.wait(on: descriptor, for: id, atMost: Self.dumpPatience)
            }
            return text.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    /// Where the threads of the process were when it crashed; it has ended.
    func crashStack() -> String? {
        withStacks { descriptor in
            StackText.crash(in: Self.read(descriptor)).flatMap { StackDump(text: $0).text() }
        }
    }

    /// Takes a step against a call, or asks something of it. Where it can't be told, whoever stopped reading isn't waited for.
    func tell(_ kind: UInt32, of id: UInt64, channel: Int) {
        var writer = WireWriter(kind: kind)
        writer.integer(UInt64(channel))
        writer.integer(id)
        guard let message = writer.finished() else { return }
        withControl { control in _ = try? control.sendSome(message, from: 0) }
    }

    private static func wait(on descriptor: Int32, for id: UInt64, atMost limit: Duration) -> String? {
        let end = ContinuousClock.now + limit
        var bytes: [UInt8] = []
        while bytes.count < StackDump.limit {
            let left = ContinuousClock.now.duration(to: end)
            guard left > .zero else { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, Int32((left.seconds * 1000).rounded(.up))) > 0 else { continue }
            let more = read(descriptor)
            if more.isEmpty { return nil }
            bytes += more
            if let text = StackText.find(in: bytes, of: id) { return text }
        }
        return nil
    }

    /// What is there, without waiting.
    private static func read(_ descriptor: Int32) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < StackDump.limit {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return bytes
    }
}
