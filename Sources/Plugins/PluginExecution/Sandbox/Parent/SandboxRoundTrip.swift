import AgentModel
import Foundation
import PythonEmbedding
import Sandbox
import Threads

/// One order to a sandboxed process and its answer, with the steps that are taken where that doesn't come in time.
///
/// Everything happens on the calling thread, which blocks.
struct SandboxRoundTrip {
    let child: SandboxChild
    let channel: Int
    /// When the steps against it begin; nil for never.
    let deadline: ContinuousClock.Instant?
    let policy: TimeLimitPolicy
    /// Of standard output and error together, beyond which the process is ended.
    let floodLimit: Int
    let outputLimit: Int
    let cpuLimit: Duration?
    /// Readable once all calls are to be stopped; nil where this one isn't.
    let stopDescriptor: Int32?
    /// It is ended with no step before that where all calls are to be stopped.
    let endsOnStop: Bool
    /// Nil where nobody can.
    let wishes: LateWishes?
    /// Is told what the process says that the call writes; nil where it was not asked to say that.
    let onOutput: OutputObserver?

    enum End<Value> {
        case answered(Value, stoppedBy: StopStep?)
        /// It ended by itself.
        case died(SandboxChild.Ending)
        /// It went past its limit and ignored what was asked of it.
        case stopped
        case flooded
        /// Its processor time is used up.
        case exhausted
        /// What it sent isn't an answer to this order.
        case misbehaved
    }

    /// What the process gives beside its answer.
    struct SideOutput {
        /// Where the call was in its code before the first step against it, or when the process crashed.
        var stack: String?
        /// What the process and the programs it started wrote past Python's own streams.
        var output: [UInt8] = []
        var errors: [UInt8] = []
        fileprivate var written = 0

        /// Puts it into the agent's log.
        func log() {
            for bytes in [output, errors] where !bytes.isEmpty {
                RunPrograms.takeLateOutput(String(decoding: bytes, as: UTF8.self))
            }
        }
    }

    private enum Stage {
        case running, asked, injected

        /// The step that a call which has just ended was at.
        var step: StopStep? {
            switch self {
            case .running: nil
            case .asked: .asked
            case .injected: .injected
            }
        }
    }

    /// Nil for an order that is too long for a message: it has not been given.
    func run<Order: SandboxOrder>(_ order: Order, beside raw: inout SideOutput) -> End<Order.Answer>? {
        guard let message = order.encoded() else { return nil }
        let wire = child.calls[channel]
        wire.limit = order.answerLimit
        var (sent, told) = (0, 0)
        var stage = Stage.running
        var observer = onOutput
        let start = ContinuousClock.now
        var deadline = deadline
        var nextCPUCheck = cpuLimit.map { start + min($0 / 4, .milliseconds(250)) }
        let meter = cpuLimit.map { _ in child.meter() }
        var streams = [child.output, child.errors]
        var listensForStop = stopDescriptor != nil
        do throws(WireError) {
            while true {
                if sent < message.count { sent += try wire.sendSome(message, from: sent) }
                if let said = try wire.next({ kind, reader throws(WireError) -> Message<Order.Answer> in
                    guard kind == SandboxMessage.output else {
                        return .answer(try order.answer(from: &reader, kind: kind))
                    }
                    return .output(try OutputMessage(from: &reader))
                }) {
                    guard case .answer(let value) = said else {
                        try tell(said, of: order.id, to: observer, told: &told)
                        continue
                    }
                    // Our own code in the child reads the order first, and says no more than that.
                    guard sent == message.count, !wire.hasBytes else { throw .malformed }
                    drain(&raw)
                    return .answered(value, stoppedBy: stage.step)
                }
                let wake = [deadline, nextCPUCheck].compactMap(\.self).min()
                let events = wait(
                    wire, sends: sent < message.count, streams: &streams, listensForStop: listensForStop, until: wake)
                if events.answer { _ = try wire.fill() }
                if events.output { drain(&raw) }
                if raw.written > floodLimit { return .flooded }
                let now = ContinuousClock.now
                if events.stop {
                    if endsOnStop { return .stopped }
                    listensForStop = false
                    deadline = now
                }
                if events.wake { wishes?.wake.clear() }
                if observer == nil, sent == message.count, let late = wishes?.relay?.observer {
                    observer = late
                    child.tell(SandboxMessage.observe, of: order.id, channel: channel)
                }
                if case .running = stage, let cancellation = wishes?.cancellation, cancellation.request != nil {
                    cancellation.begin()
                    deadline = now
                }
                if let check = nextCPUCheck, now >= check, let cpuLimit {
                    let used = meter?.read() ?? .zero
                    if used >= cpuLimit {
                        raw.stack = raw.stack ?? child.stack(of: order.id, channel: channel, .either)
                        return .exhausted
                    }
                    // As many processors as there are may be at work. Not rarely either: what ends unseen isn't counted.
                    let soonest = max(.milliseconds(20), (cpuLimit - used) / Self.processors)
                    nextCPUCheck = now + min(soonest, .milliseconds(250))
                }
                if let due = deadline, now >= due {
                    switch stage {
                    case .running: raw.stack = child.stack(of: order.id, channel: channel, .withGIL)
                    case .asked: break
                    case .injected:
                        // It did nothing of what it was asked, and probably holds the GIL.
                        raw.stack = raw.stack ?? child.stack(of: order.id, channel: channel, .withoutGIL)
                    }
                    guard let next = advance(stage, against: order.id, .now) else { return .stopped }
                    (stage, deadline) = next
                }
            }
        } catch {
            drain(&raw)
            guard error == .closed else { return .misbehaved }
            let ending = child.end(isGone: true)
            raw.stack = child.crashStack() ?? raw.stack
            return .died(ending)
        }
    }

    private enum Message<Value> {
        case output(OutputMessage)
        case answer(Value)
    }

    /// Hands on what the process says that its call writes: no more than would be kept.
    private func tell<Value>(
        _ message: Message<Value>, of id: UInt64, to observer: OutputObserver?, told: inout Int
    ) throws(WireError) {
        guard case .output(let output) = message, let observer, output.id == id else { throw .malformed }
        // In the unit in which the child counts what it keeps. None is empty, so that the number of messages has a bound.
        let count = output.text.unicodeScalars.count
        told += count
        guard count > 0, told <= 2 * (outputLimit + 1) else { throw .malformed }
        observer(output.stream, output.text)
    }

    private static let processors = max(1, ProcessInfo.processInfo.activeProcessorCount)

    /// Takes the next step against a call that goes on. Nil: the process has to be ended.
    private func advance(
        _ stage: Stage, against id: UInt64, _ now: ContinuousClock.Instant
    ) -> (Stage, ContinuousClock.Instant)? {
        switch stage {
        case .running:
            child.tell(SandboxMessage.ask, of: id, channel: channel)
            return (.asked, now + policy.askGrace)
        case .asked:
            // Mostly it waits for one of its programs, and then returns by itself.
            _ = child.endPrograms(ofRun: id)
            child.tell(SandboxMessage.inject, of: id, channel: channel)
            return (.injected, now + policy.injectGrace)
        case .injected: return nil
        }
    }

    // MARK: Waiting

    /// Whether the process is there and says nothing that no one asked for: then an order can be given. What it wrote
    /// in between is no run's.
    static func isFree(_ child: SandboxChild, channel: Int) -> Bool {
        let wire = child.calls[channel]
        guard !wire.hasBytes else { return false }
        let streams = [child.output, child.errors]
        var descriptors = ([wire.reading] + streams).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&descriptors, UInt(descriptors.count), 0) > 0 else { return true }
        var stale: [UInt8] = []
        for (entry, stream) in zip(descriptors.dropFirst(), streams) where entry.revents & Int16(POLLIN) != 0 {
            _ = read(stream, into: &stale, limit: 4096)
        }
        if !stale.isEmpty { RunPrograms.takeLateOutput(String(decoding: stale, as: UTF8.self)) }
        return descriptors[0].revents == 0
    }

    private func wait(
        _ wire: WireChannel, sends: Bool, streams: inout [Int32], listensForStop: Bool,
        until wake: ContinuousClock.Instant?
    ) -> (answer: Bool, output: Bool, stop: Bool, wake: Bool) {
        var descriptors = ([wire.reading] + streams).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        descriptors.append(
            pollfd(fd: listensForStop ? stopDescriptor ?? -1 : -1, events: Int16(POLLIN), revents: 0))
        descriptors.append(pollfd(fd: wishes?.wake.descriptor ?? -1, events: Int16(POLLIN), revents: 0))
        if sends { descriptors.append(pollfd(fd: wire.writing, events: Int16(POLLOUT), revents: 0)) }
        let count = poll(&descriptors, UInt(descriptors.count), wake.map(Self.milliseconds) ?? -1)
        guard count > 0 else { return (false, false, false, false) }
        // Whoever has closed all of a stream is not waited for, which would never wait.
        for index in streams.indices where descriptors[1 + index].revents & Int16(POLLIN | POLLHUP) == Int16(POLLHUP) {
            streams[index] = -1
        }
        let readable = Int16(POLLIN | POLLHUP | POLLERR)
        return (
            descriptors[0].revents & readable != 0,
            descriptors[1].revents & Int16(POLLIN) != 0 || descriptors[2].revents & Int16(POLLIN) != 0,
            descriptors[3].revents != 0, descriptors[4].revents != 0
        )
    }

    private static func milliseconds(until wake: ContinuousClock.Instant) -> Int32 {
        let left = ContinuousClock.now.duration(to: wake)
        guard left > .zero else { return 0 }
        return Int32(clamping: Int64(left.seconds * 1000) + 1)
    }

    private func drain(_ raw: inout SideOutput) {
        raw.written += Self.read(child.output, into: &raw.output, limit: outputLimit)
        raw.written += Self.read(child.errors, into: &raw.errors, limit: outputLimit)
    }

    /// Reads what is there, once: whoever writes faster than that is read again the next time. Keeps up to `limit`.
    private static func read(_ descriptor: Int32, into bytes: inout [UInt8], limit: Int) -> Int {
        withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
            let count = Foundation.read(descriptor, buffer.baseAddress!, buffer.count)
            guard count > 0 else { return 0 }
            let room = max(0, limit - bytes.count)
            bytes.append(contentsOf: buffer.prefix(min(count, room)))
            return count
        }
    }
}
