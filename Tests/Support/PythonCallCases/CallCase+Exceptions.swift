extension CallCase {
    private static func raising(
        _ name: String, _ body: String, _ type: String, _ part: String = "", top: String = ""
    ) -> CallCase {
        CallCase(name: name, script: plugin("", body, top: top), expectation: .raised(type, containing: part))
    }

    public static let exceptions: [CallCase] = [
        raising("ValueError", "raise ValueError('no good')", "ValueError", "no good"),
        raising("own class", "raise Own('x')", "runbook_plugin_", "x", top: "class Own(Exception): pass"),
        raising(
            "str raises", "raise Bad()", "runbook_plugin_", "could not be made",
            top: "class Bad(Exception):\n    def __str__(self): raise RuntimeError('worse')"),
        raising(
            "str raises BaseException", "raise Bad()", "runbook_plugin_", "could not be made",
            top: "class Bad(Exception):\n    def __str__(self): raise SystemExit(3)"),
        raising("lone surrogate", "raise ValueError('a\\ud800')", "ValueError", "a?"),
        raising("recursion", "return self.run()", "RecursionError", "recursion"),
        raising("missing module", "import not_there", "ModuleNotFoundError", "not_there"),
        raising("KeyboardInterrupt", "raise KeyboardInterrupt()", "KeyboardInterrupt"),
        raising("GeneratorExit", "raise GeneratorExit()", "GeneratorExit"),
        raising("StopIteration", "raise StopIteration(1)", "StopIteration"),
        raising("MemoryError", "return [0] * (1 << 62)", "MemoryError"),
        CallCase(name: "sys.exit", script: plugin("", "import sys; sys.exit(3)"), expectation: .exited("3")),
        CallCase(name: "exit with text", script: plugin("", "raise SystemExit('bye')"), expectation: .exited("bye")),
    ].map { testCase in
        guard case .raised("runbook_plugin_", let part) = testCase.expectation else { return testCase }
        var testCase = testCase
        // The module's name ends in a number; the class itself is looked at by `exceptionOfAnOwnClass`.
        testCase.script = testCase.script.replacingClassModule()
        testCase.expectation = .raised(
            "theirs.\(testCase.script.contains("class Own") ? "Own" : "Bad")", containing: part)
        return testCase
    }
}

extension String {
    /// Gives the first class of the script a module name that is known beforehand.
    fileprivate func replacingClassModule() -> String {
        let name = contains("class Own") ? "Own" : "Bad"
        return replacing("\nclass Plugin:", with: "\n\(name).__module__ = 'theirs'\nclass Plugin:", maxReplacements: 1)
    }
}
