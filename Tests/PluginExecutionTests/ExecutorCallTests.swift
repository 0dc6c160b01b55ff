import AgentModel
import PluginExecution
import PythonCallCases
import Sandbox
import Testing

/// Arguments, results, output, logging, errors and state are the same in both tiers.
@Suite struct ExecutorCallTests {
    /// Every row of the tables of the embedding, as an outcome.
    @Test(arguments: Tier.allCases)
    func tables(_ tier: Tier) async throws {
        // Room for a million keys.
        let fixture = try ExecutorFixture(tier, policy: { $0.limits[.memory] = 2 << 30 })
        for testCase in CallCase.all {
            try await fixture.load(testCase.script)
            let outcome = await fixture.execute("run", testCase.arguments)
            let problem = testCase.problem(with: outcome, in: tier)
            #expect(problem == nil, "\(testCase.name)")
            await fixture.executor.unload(fixture.id)
        }
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func tracebackShowsSourceLines(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        let script = """
            import logging
            def inner(number):
                logging.warning("about to fail")
                raise ValueError(f"no {number}")  # this line
            class Plugin:
                def run(self):
                    print("before")
                    inner(7)
            """
        try await fixture.load(script)
        let outcome = await fixture.execute("run")
        #expect(outcome.status == .failed)
        #expect(outcome.error?.type == "ValueError")
        #expect(outcome.error?.message.contains("no 7") == true)
        let traceback = try #require(outcome.error?.traceback)
        #expect(traceback.contains(#"raise ValueError(f"no {number}")  # this line"#), "\(traceback)")
        #expect(traceback.contains("\(fixture.id).py\", line 4, in inner"), "\(traceback)")
        #expect(outcome.stdout == "before\n")
        #expect(outcome.stderr == "WARNING root: about to fail\n")
        await fixture.executor.shutDown()
    }

    private static func counter(_ step: Int) -> String {
        """
        total = 0
        class Plugin:
            def __init__(self): self.own = 0
            def count(self):
                global total
                total += \(step)
                self.own += \(step)
                return [total, self.own]
        """
    }

    @Test(arguments: Tier.allCases)
    func stateStaysBetweenCalls(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.counter(1))
        for number in 1...3 { #expect(await fixture.execute("count").data == "[\(number), \(number)]") }
        // A script that changed under its id is a new module and a new instance.
        try await fixture.load(Self.counter(100))
        #expect(await fixture.execute("count").data == "[100, 100]")
        await fixture.executor.unload(fixture.id)
        try await fixture.load(Self.counter(100))
        #expect(await fixture.execute("count").data == "[100, 100]")
        await fixture.executor.shutDown()
    }

    /// The same class, function and global names in two scripts that differ.
    @Test(arguments: Tier.allCases)
    func twoVersionsKeepTheirOwnState(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        let newer = try ExecutorFixture.newID("newer")
        try await fixture.load(Self.counter(1))
        try await fixture.load(Self.counter(10), id: newer)
        for number in 1...3 {
            #expect(await fixture.execute("count").data == "[\(number), \(number)]")
            #expect(await fixture.execute("count", of: newer).data == "[\(number * 10), \(number * 10)]")
        }
        await fixture.executor.unload(fixture.id)
        #expect(await fixture.execute("count").error?.code == "plugin.not_loaded")
        #expect(await fixture.execute("count", of: newer).data == "[40, 40]")
        await fixture.executor.shutDown()
    }
}

extension CallCase {
    /// What is wrong with the outcome; nil where nothing is.
    func problem(with outcome: Outcome, in tier: Tier) -> String? {
        guard isAsExpected(outcome, in: tier) else { return "expected \(expectation), got \(outcome)" }
        if let stdout, outcome.stdout != stdout { return "the output is \(outcome.stdout.debugDescription)" }
        if let stderr, outcome.stderr != stderr { return "the errors are \(outcome.stderr.debugDescription)" }
        return nil
    }

    private func isAsExpected(_ outcome: Outcome, in tier: Tier) -> Bool {
        func isError(_ status: RunStatus, _ code: String, _ part: String = "") -> Bool {
            outcome.status == status && outcome.error?.code == code && outcome.data == nil
                && (part.isEmpty || outcome.error?.message.contains(part) == true)
        }
        switch expectation {
        case .value(let value):
            // What returns None has what it printed as its result.
            let printed = outcome.stdout.isEmpty ? nil : outcome.stdout
            return outcome.status == .succeeded && outcome.error == nil && outcome.data == value ?? printed
        case .invalidArguments(let part): return isError(.rejected, "task.invalid_arguments", part)
        case .mismatch(let part): return isError(.rejected, "task.argument_mismatch", part)
        case .raised("MemoryError", _) where tier == .sandbox: return isError(.outOfMemory, "sandbox.out_of_memory")
        case .raised(let type, let part):
            return isError(.failed, "plugin.exception", part) && outcome.error?.type == type
        case .exited(let text): return isError(.failed, "plugin.exit", text)
        case .notJSON(let type, let part):
            return isError(.failed, "plugin.result_not_json", part) && outcome.error?.type == type
        case .missing: return isError(.rejected, "plugin.function_missing")
        case .notCallable(let type): return isError(.rejected, "plugin.function_not_callable", type)
        }
    }
}
