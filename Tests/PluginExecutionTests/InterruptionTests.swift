import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Testing

/// An exception is injected into a plugin at whatever moment, and takes nothing that others need with it.
///
/// The lock of the root log handler once stayed held: every plugin that logged hung then.
@Suite(.serialized) struct InterruptionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// What is done again and again until the time limit, and once by the other plugin.
        let body: String
        var testDescription: String { name }
    }

    private static let cases = [
        Case(name: "a record is logged", body: "log.info('x')"),
        Case(name: "the lock of the module logging is taken", body: "logging.getLogger('interrupted').info('x')"),
        Case(name: "levels are looked up", body: "log.setLevel(logging.INFO)\nlog.isEnabledFor(logging.INFO)"),
        Case(name: "modules are imported", body: "sys.modules.pop('colorsys', None)\nimport colorsys"),
        Case(name: "something is printed", body: "print('x', end='')\nprint('x', end='', file=sys.stderr)"),
        Case(name: "threads are started", body: "thread = threading.Thread(target=int)\nthread.start()\nthread.join()"),
        Case(name: "a queue is used that both use", body: "shared.put(1)\nshared.get()"),
        Case(
            name: "the names of temporary files are made",
            body:
                "tempfile._name_sequence = tempfile.tempdir = None\ntempfile._get_candidate_names()\ntempfile.gettempdir()"
        ),
        Case(name: "a condition is entered and left, and nothing else", body: "with condition: pass"),
    ]

    private static func script(_ testCase: Case) -> String {
        func indented(_ depth: Int) -> String {
            testCase.body.split(separator: "\n").map { String(repeating: " ", count: depth) + $0 }
                .joined(separator: "\n")
        }
        return """
            import logging, queue, sys, tempfile, threading
            log = logging.getLogger(__name__)
            # One for all plugins of this name.
            shared = sys.__dict__.setdefault("interruption_queue", queue.Queue())
            condition = sys.__dict__.setdefault("interruption_condition", threading.Condition())
            class Plugin:
                def again(self):
                    while True:
            \(indented(12))
                def once(self):
            \(indented(8))
                    return "fine"
            """
    }

    @Test(arguments: cases)
    func leavesNothingLocked(_ testCase: Case) async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 4, askGrace: .zero)
        let others = try (0..<4).map { _ in try ExecutorFixture.newID("interrupted") }
        for id in others { try await fixture.load(Self.script(testCase), id: id) }
        try await fixture.load(Self.script(testCase))
        for _ in 0..<12 {
            await withTaskGroup(of: Void.self) { group in
                for id in others {
                    group.addTask {
                        // One that takes a module from under the others' hands fails.
                        let outcome = await fixture.execute("again", of: id, timeLimit: .milliseconds(30))
                        #expect([.timedOut, .outputLimit, .failed].contains(outcome.status))
                    }
                }
            }
            let outcome = await fixture.execute("once", timeLimit: .seconds(60))
            #expect(outcome.status == .succeeded && outcome.data == "fine", "\(outcome)")
        }
        await fixture.executor.shutDown()
    }

    /// What is nothing but such functions is given up at last, and is not waited for without end.
    @Test func whatHasAlwaysTheLockIsGivenUp() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 1, askGrace: .zero, injectGrace: .milliseconds(50))
        let script = """
            \(Gates.script)
            import threading
            condition = threading.Condition(threading.Lock())
            class Plugin:
                def wait(self):
                    gate("entered").set()
                    with condition: pass
                def hold(self):
                    condition.acquire()
                def free(self):
                    condition.release()
            """
        try await fixture.load(script, concurrency: 3)
        #expect(await fixture.execute("hold").status == .succeeded)
        let outcome = await fixture.execute("wait", timeLimit: .milliseconds(20))
        #expect(outcome.error?.message.contains("(thread_abandoned)") == true, "\(outcome)")
        #expect(await fixture.execute("free").status == .succeeded)
        await fixture.executor.shutDown()
    }
}
