import PythonCallCases
import PythonEmbedding
import Testing

@Suite struct PluginLoadTests {
    struct FailureCase: Sendable, CustomTestStringConvertible {
        let name: String
        let script: String
        let stage: LoadFailure.Stage
        /// Nil where it depends on the version of Python.
        let type: String?
        var line: String?
        var output = ""
        var testDescription: String { name }
    }

    @Test(arguments: [
        FailureCase(
            name: "syntax error", script: "class Plugin\n", stage: .compile, type: "SyntaxError", line: "class Plugin"),
        FailureCase(name: "zero byte", script: "a = 1\0\n", stage: .compile, type: nil),
        FailureCase(
            name: "nested too deep", script: String(repeating: "(", count: 5000), stage: .compile, type: "SyntaxError"),
        FailureCase(
            name: "raises", script: "print('so far')\nraise ValueError('top')  # here\n", stage: .execute,
            type: "ValueError", line: "raise ValueError('top')  # here", output: "so far\n"),
        FailureCase(
            name: "missing module", script: "import not_there", stage: .execute, type: "ModuleNotFoundError",
            line: "import not_there"),
        FailureCase(name: "sys.exit", script: "import sys; sys.exit(1)", stage: .execute, type: "SystemExit"),
        FailureCase(name: "no Plugin", script: "class Other: pass", stage: .class, type: "AttributeError"),
        FailureCase(name: "Plugin is no class", script: "Plugin = 3", stage: .class, type: "AttributeError"),
        FailureCase(name: "empty", script: "", stage: .class, type: "AttributeError"),
        FailureCase(
            name: "constructor raises", script: "class Plugin:\n    def __init__(self):\n        1 / 0  # there",
            stage: .construct, type: "ZeroDivisionError", line: "1 / 0  # there"),
        FailureCase(
            name: "constructor wants more", script: "class Plugin:\n    def __init__(self, api, other): pass",
            stage: .construct, type: "TypeError"),
        FailureCase(
            name: "removes itself from sys.modules", script: "import sys; del sys.modules[__name__]; 1 / 0",
            stage: .execute, type: "ZeroDivisionError"),
    ])
    func failure(_ testCase: FailureCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let id = "failing-\(PluginThread.nextID())"
        guard case .failure(let failure) = await thread.load(testCase.script, id: id, path: "/plugins/\(id).py") else {
            Issue.record("it loaded")
            return
        }
        #expect(failure.stage == testCase.stage)
        if let type = testCase.type { #expect(failure.exception.type == type) }
        #expect(failure.output == testCase.output)
        #expect(!failure.exceededTimeLimit)
        if let line = testCase.line { #expect(failure.exception.traceback?.contains(line) == true) }
        let left = try await thread.callOnce(
            plugin(
                "name", "return [name in sys.modules, '/plugins/' + path + '.py' in linecache.cache]",
                top: "import linecache, sys"
            )
            .replacing("name in sys", with: "'\(PluginInstance.moduleName(forPluginID: id))' in sys")
            .replacing("path +", with: "'\(id)' +"), arguments: #"{"name": null}"#)
        #expect(try left.text == "[false, false]")
    }

    @Test(arguments: [
        ("api", "def __init__(self, api): self.api = api", "<the agent's API>"),
        ("api with a default", "def __init__(self, api=None): self.api = api", "<the agent's API>"),
        ("api by keyword only", "def __init__(self, *, api): self.api = api", "<the agent's API>"),
        ("api by position only", "def __init__(self, api, /): self.api = api", "<the agent's API>"),
        ("another parameter", "def __init__(self, other=1): self.api = other", "1"),
        ("none", "def __init__(self): self.api = 2", "2"),
        ("no constructor", "api = 3", "3"),
        ("keywords only", "def __init__(self, **more): self.api = more", "{}"),
    ])
    func constructor(_ name: String, _ constructor: String, _ expected: String) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            from runbooksolutions.agent.API import API, APIError
            from runbooksolutions.agent.Task import Task
            import runbooksolutions.agent.API
            class Plugin:
                \(constructor)
                def run(self): return repr(self.api)
            """
        #expect(try await thread.callOnce(script).text == expected, "\(name)")
    }

    @Test func scriptBytesAreRunAsTheyAre() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = "# coding: latin-1\r\nclass Plugin:\r\n    def run(self): return 'ü' + __file__ + __name__"
        let plugin = try await thread.load(script, id: "a-b", path: "/p/x.py").get().plugin
        #expect(try await thread.call("run", of: plugin).text == "Ã¼/p/x.pyrunbook_plugin_a_2d_b")
    }

    @Test func moduleNamesDiffer() {
        let ids = ["a", "A", "a.b", "a-b", "a_b", "a_2d_b", "a_5f_b", "a__b", "1", "_1", "a.b.c"]
        let names = ids.map(PluginInstance.moduleName(forPluginID:))
        #expect(Set(names).count == ids.count)
        #expect(names.allSatisfy { $0.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) != nil })
    }

    private static func counting(_ version: Int) -> String {
        """
        import dataclasses, pickle, sys
        state = {"calls": 0}
        @dataclasses.dataclass
        class Item:
            version: int
        def version(): return \(version)
        class Plugin:
            def run(self):
                state["calls"] += 1
                item = pickle.loads(pickle.dumps(Item(version())))
                return [item.version, state["calls"], sys.modules[__name__].version()]
        """
    }

    @Test func twoVersionsSideBySide() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let one = try await thread.load(Self.counting(1), id: "version.1", path: "/p/1.py").get().plugin
        let two = try await thread.load(Self.counting(2), id: "version-1", path: "/p/2.py").get().plugin
        #expect(try await thread.call("run", of: one).text == "[1, 1, 1]")
        #expect(try await thread.call("run", of: one).text == "[1, 2, 1]")
        #expect(try await thread.call("run", of: two).text == "[2, 1, 2]")
    }

    /// Reloading keeps the new module registered when the old one is taken down, and a failed reload the old one.
    @Test func reload() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let old = try await thread.load(Self.counting(1), id: "reloaded").get().plugin
        guard case .failure = await thread.load("raise ValueError", id: "reloaded") else {
            Issue.record("it loaded")
            return
        }
        #expect(try await thread.call("run", of: old).text == "[1, 1, 1]")
        let new = try await thread.load(Self.counting(2), id: "reloaded").get().plugin
        await thread.run { _, gil in old.forget(gil: gil) }
        #expect(try await thread.call("run", of: new).text == "[2, 1, 2]")
        // A later version that came too late gives its place back.
        let late = try await thread.load(Self.counting(3), id: "reloaded").get().plugin
        await thread.run { _, gil in late.forget(inFavourOf: new, gil: gil) }
        #expect(try await thread.call("run", of: new).text == "[2, 2, 2]")
    }

    @Test func moduleThatReplacesItselfIsForgotten() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            import sys, types
            sys.modules[__name__] = types.SimpleNamespace()
            class Plugin:
                def run(self): return __name__ in sys.modules
            """
        let plugin = try await thread.load(script, id: "self-replacing").get().plugin
        #expect(try await thread.call("run", of: plugin).text == "true")
        await thread.run { _, gil in plugin.forget(gil: gil) }
        #expect(try await thread.call("run", of: plugin).text == "false")
    }

    /// Whether a method is there is asked on a thread that must not wait: a property's code isn't run for it.
    @Test func methodsAreFoundWithoutRunningCode() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            class Plugin:
                value = 3
                def method(self): pass
                @staticmethod
                def static(): pass
                @property
                def made(self): raise SystemExit
                def __init__(self): self.own = lambda: 1
            """
        let plugin = try await thread.load(script, id: "methods").get().plugin
        let found = await thread.run { _, gil in
            ["method", "static", "made", "own", "value", "nothing", "__init__"].filter {
                plugin.hasMethod($0, gil: gil)
            }
        }
        #expect(found == ["method", "static", "made", "own", "__init__"])
    }

    @Test func shutdownIsCalledOnceAndItsExceptionReturned() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let with = try await thread.load(
            "class Plugin:\n    def shutdown(self): raise ValueError('closing')", id: "with"
        ).get().plugin
        let without = try await thread.load("class Plugin: pass", id: "without").get().plugin
        let exceptions = await thread.run { slot, gil in
            [with, without].map { slot.shutDown($0, id: PluginThread.nextID(), gil: gil)?.message }
        }
        #expect(exceptions == ["closing", nil])
    }
}
