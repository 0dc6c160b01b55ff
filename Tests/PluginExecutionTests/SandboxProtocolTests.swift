import AgentModel
import AgentTestSupport
import PluginExecution
import PythonEmbedding
import Sandbox
import Testing
import Threads

/// A plugin that writes to the descriptors which its process speaks to the agent through.
@Suite struct SandboxProtocolTests {
    /// To the agent go descriptor 3 for control, 4 for requests and 5 for calls; from it come 6, 7 and 8 in the same order.
    /// A call's number is in the order it was given.
    private static let script = """
        import os, socket, struct, threading, time
        def text(value):
            value = value.encode()
            return struct.pack("=Q", len(value)) + value
        def message(kind, body): return struct.pack("=II", len(body), kind) + body
        def answer(number, value): return message(12, struct.pack("=QQQQ", number, 0, 0, 1) + text(value) + text("") + text(""))
        def send(descriptor, data):
            while data: data = data[os.write(descriptor, data):]
        class Plugin:
            def remember(self): self.seen = True
            def recall(self): return hasattr(self, "seen")
            def innocent(self): return "innocent"
            def garbage(self):
                send(5, os.urandom(4096)); time.sleep(3600)
            def half(self):
                send(5, answer(1, "x")[:20]); time.sleep(3600)
            def announces(self, length):
                send(5, struct.pack("=II", length, 12)); time.sleep(3600)
            def announces_and_sends(self, length):
                send(5, struct.pack("=II", length, 12))
                while True: send(5, bytes(65536))
            def chatters(self):
                value, output = "x", "y" * (4 << 20)
                for number in range(1, 64):
                    send(5, message(12, struct.pack("=QQQQ", number, 0, 0, 1) + text(value) + text(output) + text("")))
            def for_another(self):
                send(5, answer(1 << 40, "forged")); time.sleep(3600)
            def wrong_kind(self):
                send(5, message(11, bytes(64))); time.sleep(3600)
            def wrong_tag(self):
                for number in range(1, 64): send(5, message(12, struct.pack("=QQQ", number, 0, 99)))
                time.sleep(3600)
            def wrong_length(self):
                for number in range(1, 64): send(5, message(12, struct.pack("=QQQQQ", number, 0, 0, 1, 1 << 63)))
                time.sleep(3600)
            def forged(self, value):
                # Whichever number it is: the others are answers to no one.
                for number in range(1, 64): send(5, answer(number, value))
                time.sleep(3600)
            def twice(self):
                send(5, answer(1 << 40, "second"))
            def later(self):
                def run():
                    time.sleep(0.02)
                    send(5, answer(1 << 40, "late"))
                threading.Thread(target=run).start()
            def closes(self):
                os.close(5); time.sleep(3600)
            def shuts(self):
                # The next order can't be given.
                socket.socket(fileno=os.dup(8)).shutdown(socket.SHUT_RD)
            def sends_back(self):
                socket.socket(fileno=os.dup(8)).send(b"x")
            def says(self, what, length):
                exception = text("E") + text("x" * length) if what == "message" else text("x" * length) + text("m")
                trace = struct.pack("=Q", 1) + text("x" * length) if what == "traceback" else struct.pack("=Q", 0)
                if what == "traceback": exception = text("E") + text("m")
                for number in range(1, 64):
                    if what == "value": body = struct.pack("=QQQQ", number, 0, 0, 1) + text("x" * length)
                    else: body = struct.pack("=QQQ", number, 0, 5) + exception + trace + struct.pack("=QQ", 1, 0)
                    send(5, message(12, body + text("") + text("")))
                time.sleep(3600)
            def no_text(self):
                for number in range(1, 64):
                    send(5, message(12, struct.pack("=QQQQ", number, 0, 0, 1) + struct.pack("=Q", 1) + b"\\xff" + text("") + text("")))
                time.sleep(3600)
            def says_output(self, size, times):
                # Whichever number it is: the first that isn't its own ends the process.
                for _ in range(times): send(5, message(14, struct.pack("=QQ", 2, 1) + text("x" * size)))
                return "said"
            def answers_and_a_byte(self):
                for number in range(1, 64): send(5, answer(number, "forged") + b"x")
                time.sleep(3600)
            def missing(self): send(3, message(33, struct.pack("=QQ", 0, 1) + text("innocent")))
            def control(self): send(3, os.urandom(1000))
            def steals(self):
                # What the agent says to the process: to ask it to stop.
                while True: os.read(6, 4096)
            def requests(self): send(4, os.urandom(4096))
            def floods_requests(self):
                while True: send(4, message(40, text("POST") + text("/api/agent/task/x") + struct.pack("=Q", 0)))
        """

    struct Case: Sendable, CustomTestStringConvertible {
        let function: String
        var arguments = "{}"
        var status = RunStatus.crashed
        var code = "sandbox.protocol"
        var timeLimit: Duration?
        var testDescription: String { "\(function) \(arguments)" }
    }

    @Test(arguments: [
        Case(function: "garbage"),
        Case(function: "half", status: .timedOut, code: "task.timed_out", timeLimit: .milliseconds(200)),
        Case(function: "announces", arguments: #"{"length": 1073741824}"#),
        Case(function: "announces", arguments: #"{"length": 4294967295}"#),
        Case(function: "announces", arguments: #"{"length": 20000000}"#),
        Case(
            function: "announces", arguments: #"{"length": 10000000}"#, status: .timedOut, code: "task.timed_out",
            timeLimit: .milliseconds(200)),
        Case(function: "announces_and_sends", arguments: #"{"length": 1000000}"#),
        Case(function: "chatters"),
        Case(function: "for_another"),
        Case(function: "wrong_kind"),
        Case(function: "wrong_tag"),
        Case(function: "wrong_length"),
        Case(function: "twice"),
        Case(function: "closes", code: "run.crashed"),
        Case(function: "sends_back", status: .failed, code: "plugin.exception"),
        Case(function: "says", arguments: #"{"what": "value", "length": 17000000}"#),
        Case(function: "says", arguments: #"{"what": "message", "length": 70000}"#),
        Case(function: "says", arguments: #"{"what": "type", "length": 2000}"#),
        Case(function: "says", arguments: #"{"what": "traceback", "length": 140000}"#),
        Case(function: "no_text"),
        Case(function: "answers_and_a_byte"),
        Case(function: "steals", status: .timedOut, code: "task.timed_out", timeLimit: .milliseconds(200)),
    ])
    func endsAsOneFailedRun(_ testCase: Case) async throws {
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50))
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        _ = await fixture.execute("remember")
        _ = await fixture.execute("remember", of: other)
        async let beside = withTaskGroup(of: String?.self) { group in
            for _ in 0..<20 { group.addTask { await fixture.execute("innocent", of: other).data } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let outcome = await fixture.execute(testCase.function, testCase.arguments, timeLimit: testCase.timeLimit)
        #expect(outcome.status == testCase.status, "\(outcome)")
        #expect(outcome.error?.code == testCase.code)
        #expect(await fixture.execute("recall").data == (testCase.status == .failed ? "true" : "false"))
        #expect(await fixture.execute("innocent").data == "innocent")
        #expect(await beside == Array(repeating: "innocent", count: 20))
        #expect(await fixture.execute("recall", of: other).data == "true")
        await fixture.executor.shutDown()
    }

    /// Only where the agent has asked for it, only of its own call, and no more than is kept.
    @Test(arguments: [(1, 1, true), (1, 1, false), (0, 1, true), (65_537, 1, true), (16_384, 200, true)])
    func outputThatNobodyAskedFor(_ size: Int, _ times: Int, _ isAsked: Bool) async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script)
        let told = BlockingLock(0)
        var invocation = Invocation(
            pluginID: fixture.id, function: "says_output", arguments: #"{"size": \#(size), "times": \#(times)}"#)
        if isAsked { invocation.onOutput = { _, text in told.withLock { $0 += text.utf8.count } } }
        let outcome = await fixture.executor.execute(invocation)
        let isRight = isAsked && size == 1
        #expect(outcome.error?.code == (isRight ? nil : "sandbox.protocol"), "\(outcome)")
        #expect(told.withLock { $0 } == (isRight ? 1 : 0) || times > 1)
        #expect(told.withLock { $0 } <= 2 * ((1 << 20) + 1))
        #expect(await fixture.execute("innocent").data == "innocent")
        await fixture.executor.shutDown()
    }

    /// The next call can't be told to it, and has another process.
    @Test func whatStopsListeningIsReplaced() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script)
        #expect(await fixture.execute("shuts").status == .succeeded)
        let next = await fixture.execute("innocent")
        #expect(next.status == .crashed || next.data == "innocent")
        #expect(await fixture.execute("innocent").data == "innocent")
        await fixture.executor.shutDown()
    }

    /// What only costs time if each call has ever another process: after two replacements the call has failed.
    @Test(.enabled(if: !Sanitizer.isActive, "it looks for its order where malloc(3) of the C library puts it"))
    func whateverAnswersUnaskedEndsTheCall() async throws {
        let script =
            Self.script + """

                import ctypes, re
                libc = ctypes.CDLL(None)
                libc.sbrk.restype = ctypes.c_void_p
                def heap():
                    reading, writing = os.pipe()
                    address = (libc.sbrk(0) & ~4095) - 4096
                    pages = []
                    while address > 0 and libc.write(writing, ctypes.c_void_p(address), 4096) == 4096:
                        pages.append(os.read(reading, 4096))
                        address -= 4096
                    return b"".join(reversed(pages))
                pattern = rb"\\x01\\0\\0\\0(.{8})\\0\\0\\x10\\0\\0\\0\\0\\0"
                if os.path.exists(os.path.join(os.path.dirname(__file__), "forge.gate")):
                    for found in re.finditer(pattern, heap(), re.S):
                        number, = struct.unpack("=Q", found.group(1))
                        send(5, message(11, struct.pack("=QQ", number, 0) + text("")))
                        time.sleep(0.05)
                        send(5, b"x")
                        time.sleep(3600)
                """
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50))
        try await fixture.load(script)
        fixture.open("forge")
        // From here on each process says that it is ready, and then a byte more.
        _ = await fixture.execute("closes")
        for _ in 0..<3 {
            let outcome = await fixture.execute("innocent", timeLimit: .seconds(5))
            #expect([.crashed, .timedOut].contains(outcome.status), "\(outcome)")
        }
        await fixture.executor.shutDown()
    }

    /// Whose process does not come up in time is past its limit, and stopping waits for no constructor.
    @Test func theTimeToMakeAProcessIsPartOfTheCall() async throws {
        let script =
            Self.script + """

                if os.path.exists(os.path.join(os.path.dirname(__file__), "sleep.gate")): time.sleep(3600)
                """
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50))
        try await fixture.load(script)
        fixture.open("sleep")
        _ = await fixture.execute("closes")
        let outcome = await fixture.execute("innocent", timeLimit: .milliseconds(300))
        #expect(outcome.status == .timedOut, "\(outcome)")
        #expect(outcome.error?.code == "task.timed_out")
        async let unlimited = fixture.execute("innocent")
        async let loading: Void? = try? fixture.load(script, id: try ExecutorFixture.newID("beside"))
        try await Task.sleep(for: .milliseconds(100))
        fixture.executor.stopCalls()
        #expect(await unlimited.status == .interrupted)
        #expect(await loading == nil)
        await fixture.executor.shutDown()
    }

    /// Only its own run's result is ever a plugin's to say.
    @Test func forgedAnswersReachNoOtherCall() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        for _ in 0..<5 {
            let outcome = await fixture.execute("forged", #"{"value": "forged"}"#)
            #expect(outcome.status == .crashed || outcome.data == "forged")
            #expect(await fixture.execute("innocent").data == "innocent")
            #expect(await fixture.execute("innocent", of: other).data == "innocent")
        }
        await fixture.executor.shutDown()
    }

    /// An answer that comes between two calls belongs to no one, and costs no one a run.
    @Test func lateAnswerCostsNoRun() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script)
        _ = await fixture.execute("remember")
        _ = await fixture.execute("later")
        // Until the process was replaced for it. What comes in the middle of a call is that call's.
        var outcome = await fixture.execute("recall")
        while outcome.data == "true" { outcome = await fixture.execute("recall") }
        #expect(outcome.data == "false" || outcome.error?.code == "sandbox.protocol")
        #expect(await fixture.execute("innocent").data == "innocent")
        await fixture.executor.shutDown()
    }

    @Test(arguments: ["missing", "control"])
    func forgedControlMessages(_ function: String) async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script)
        #expect(await fixture.executor.missingFunctions(among: ["innocent", "nothing"], of: fixture.id) == ["nothing"])
        #expect(await fixture.execute(function).status == .succeeded)
        let claimed = await fixture.executor.missingFunctions(among: ["innocent", "nothing"], of: fixture.id)
        #expect(claimed.contains("nothing"))
        // From a process that says nothing unasked.
        #expect(await fixture.executor.missingFunctions(among: ["innocent", "nothing"], of: fixture.id) == ["nothing"])
        #expect(await fixture.execute("innocent").data == "innocent")
        await fixture.executor.shutDown()
    }

    @Test(arguments: APIAccess.allCases, ["requests", "floods_requests"])
    func garbageAmongRequests(_ access: APIAccess, _ function: String) async throws {
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50), policy: { $0.api = access })
        try await fixture.load(Self.script)
        let limit: Duration? = function == "requests" ? nil : .milliseconds(200)
        let outcome = await fixture.execute(function, timeLimit: limit)
        #expect(outcome.status == (limit == nil ? .succeeded : .timedOut), "\(outcome)")
        #expect(await fixture.execute("innocent").data == "innocent")
        await fixture.executor.shutDown()
    }
}
