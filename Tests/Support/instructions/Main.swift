import AgentModel
import CronSchedule
import Foundation
import PythonEmbedding
import Threads

@testable import Agent

/// Work whose instructions `Scripts/count-instructions.sh` counts: on a shared machine times are noise, instructions aren't.
///
/// Each function whose name begins with `counted_` is a row, by that name. It does the same ``repetitions`` times; what is only done
/// once has been done before.
@main struct Main {
    static let repetitions = 200

    static func main() throws {
        let python = try PythonInterpreter.start()
        let end = BlockingQueue<Bool>()
        try python.startThread(name: "counted") { attachment in
            let id = attachment.threadID
            let isDone: Bool = attachment.withGIL { gil in
                guard let slot = try? CallSlot(interpreter: python, threadID: id, gil: gil), let work = try? Work(),
                    case .success(let loaded) = slot.load(
                        script: Array(Work.script.utf8), path: "/counted.py", pluginID: "counted", id: 1, gil: gil)
                else { return false }
                for count in [1, repetitions] {
                    counted_call(count, slot, loaded.plugin, gil)
                    counted_cron_next(count, work)
                    counted_decode_tasks(count, work)
                    counted_encode_result(count, work)
                    counted_long_poll(count)
                }
                return true
            }
            end.push(isDone)
        }
        guard end.pop() else { exit(1) }
        exit(0)
    }
}

/// What is worked on.
struct Work {
    static let script = "class Plugin:\n    def square(self, number): return number ** 2\n"

    let schedule: CronSchedule
    let zone: TimeZoneRules
    let list: Data
    let result: TaskResult

    init() throws {
        schedule = try CronSchedule("*/7 3-5 * * mon-fri")
        zone = try TimeZoneRules.named("Europe/Berlin")
        let fields = #""command": "p.c", "cron": "*/5 * * * *", "arguments": "{\"n\": 1}", "x": [1]"#
        let tasks = (0..<20).map { #"{"id": "task-\#($0)", \#(fields)}"# }
        list = Data(#"{"data": [\#(tasks.joined(separator: ","))]}"#.utf8)
        result = TaskResult(
            data: "4", runID: "01a221fc-08fd-7703-98e3-940cd43303cf", status: .succeeded, stdout: "one\ntwo\n",
            stderr: "",
            startedAt: Date(timeIntervalSince1970: 1_800_000_000),
            finishedAt: Date(timeIntervalSince1970: 1_800_000_001),
            durationMilliseconds: 1000, isolation: "in-process", agentVersion: "1")
    }
}

/// A call of a method, arguments and result as JSON text.
@inline(never) func counted_call(_ count: Int, _ slot: CallSlot, _ plugin: PluginInstance, _ gil: borrowing GIL) {
    for number in 0..<count {
        let result = slot.call(
            "square", of: plugin, arguments: #"{"number": 2}"#, id: UInt64(10 + number + count), gil: gil)
        guard case .success("4") = result.value else { exit(2) }
    }
}

/// The next fire time of a schedule.
@inline(never) func counted_cron_next(_ count: Int, _ work: Work) {
    var time: Int64 = 1_800_000_000
    for _ in 0..<count {
        guard let next = work.schedule.next(after: time, in: work.zone) else { exit(2) }
        time = next
    }
}

/// The answer that has twenty tasks.
@inline(never) func counted_decode_tasks(_ count: Int, _ work: Work) {
    for _ in 0..<count {
        let answer = try? TasksAnswer.selection(limit: 1000).select(from: work.list).decode(TasksAnswer.self)
        guard answer?.list?.tasks.count == 20 else { exit(2) }
    }
}

/// The body of a result.
@inline(never) func counted_encode_result(_ count: Int, _ work: Work) {
    for _ in 0..<count {
        guard (try? JSONEncoder().encode(work.result)) != nil else { exit(2) }
    }
}

/// What follows on the answer of a request that was held.
@inline(never) func counted_long_poll(_ count: Int) {
    var poll = LongPoll()
    for _ in 0..<count {
        let outcome = poll.answered(isApplied: true, hasChanged: false, closes: false, after: .seconds(50))
        guard outcome.pause == .none else { exit(2) }
    }
}
