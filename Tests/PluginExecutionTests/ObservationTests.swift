import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import PythonEmbedding
import Testing
import Threads

/// Somebody comes to watch a call that is under way.
@Suite(.serialized) struct ObservationTests {
    private static let script = """
        \(Gates.script)
        import os, subprocess, sys, threading
        class Plugin:
            def talk(self):
                print("ä", end="")
                print("warned", file=sys.stderr)
                gate("begun").set()
                gate("on").wait()
                print(" and on")
            def chatter(self, count):
                gate("begun").set()
                for number in range(count): print(number)
            def program(self):
                # The character comes in two writes.
                command = r'echo one; printf "\\303"; : > begun.gate; while [ ! -e on.gate ]; do sleep 0.01; done; printf "\\244\\n"'
                subprocess.run(["sh", "-c", command], cwd=os.path.dirname(__file__), check=True)
                print("three")
            def alternate(self, count):
                gate("begun").set()
                for number in range(count):
                    subprocess.run(["echo", f"program {number}"])
                    print("plugin", number)
        """

    private final class Seen: Sendable {
        private struct State {
            var texts: [StandardStream: String] = [:]
        }

        private let state = BlockingLock(State())

        func add(_ stream: StandardStream, _ text: String) { state.withLock { $0.texts[stream, default: ""] += text } }
        func text(_ stream: StandardStream) -> String { state.withLock { $0.texts[stream] ?? "" } }
    }

    @Test(arguments: Tier.allCases)
    func whatWasWrittenComesFirst(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let (invocation, relay, seen) = make("talk", fixture)
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        relay.observe { seen.add($0, $1) }
        fixture.executor.observe("run")
        try await eventually("it is told") { seen.text(.output) == "ä" && seen.text(.errors) == "warned\n" }
        fixture.open("on")
        #expect(await outcome.stdout == "ä and on\n")
        #expect(seen.text(.output) == "ä and on\n")
        await fixture.executor.shutDown()
    }

    /// At whatever moment it comes, each character is told once and in order.
    @Test(arguments: Tier.allCases, [0, 1, 3, 10])
    func nothingIsMissedOrToldTwice(_ tier: Tier, _ pause: Int) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let (invocation, relay, seen) = make("chatter", fixture, #"{"count": 20000}"#)
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        try await Task.sleep(for: .milliseconds(pause))
        relay.observe { seen.add($0, $1) }
        fixture.executor.observe("run")
        let whole = await outcome.stdout
        #expect(whole.hasSuffix("19999\n"))
        // Where the call ended before, nothing is told.
        #expect(seen.text(.output) == whole || seen.text(.output) == "")
        await fixture.executor.shutDown()
    }

    /// A program that goes on is heard before it ends, whether somebody watched from the beginning or came later.
    @Test(arguments: Tier.allCases, [true, false])
    func whatProgramsPrintIsToldAtOnce(_ tier: Tier, _ isLate: Bool) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let (invocation, relay, seen) = make("program", fixture)
        if !isLate { relay.observe { seen.add($0, $1) } }
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        if isLate {
            relay.observe { seen.add($0, $1) }
            fixture.executor.observe("run")
        }
        try await eventually("it is told") { seen.text(.output) == "one\n" }
        fixture.open("on")
        #expect(await outcome.stdout == "one\nä\nthree\n")
        #expect(seen.text(.output) == "one\nä\nthree\n")
        await fixture.executor.shutDown()
    }

    /// What a program has printed before it ended stands before what the plugin prints then.
    @Test(arguments: Tier.allCases)
    func programsAndThePluginAreToldInOrder(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let (invocation, relay, seen) = make("alternate", fixture, #"{"count": 150}"#)
        relay.observe { seen.add($0, $1) }
        let outcome = await fixture.executor.execute(invocation)
        let expected = (0..<150).map { "program \($0)\nplugin \($0)\n" }.joined()
        #expect(outcome.stdout == expected, "\(outcome)")
        #expect(seen.text(.output) == expected)
        await fixture.executor.shutDown()
    }

    private func make(
        _ function: String, _ fixture: ExecutorFixture, _ arguments: String = "{}"
    ) -> (Invocation, OutputRelay, Seen) {
        let relay = OutputRelay()
        var invocation = Invocation(pluginID: fixture.id, function: function, arguments: arguments, runID: "run")
        invocation.relay = relay
        return (invocation, relay, Seen())
    }
}
