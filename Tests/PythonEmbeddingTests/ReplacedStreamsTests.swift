import PythonEmbedding
import Testing

/// In processes of their own: `sys` is shared by all that runs in one.
@Suite struct ReplacedStreamsTests {
    private static let script = """
        import contextlib, io, sys, threading
        entered, leave = threading.Event(), threading.Event()
        class Plugin:
            def replace(self):
                sys.stdout = sys.stderr = io.StringIO()
                print("lost")
            def delete(self):
                del sys.stdout
            def write(self):
                print("kept")
                print("kept too", file=sys.stderr)
            def redirect(self):
                kept = io.StringIO()
                with contextlib.redirect_stdout(kept):
                    print("first")
                    entered.set()
                    leave.wait()
                    print("second")
                print("third")
                return kept.getvalue()
            def wait_entered(self): entered.wait()
            def let_leave(self): leave.set()
        """

    @Test func arePutBackAfterTheCall() async {
        await #expect(processExitsWith: .success) {
            let thread = try PluginThread()
            let plugin = try await thread.load(Self.script).get().plugin
            for function in ["replace", "delete"] {
                _ = await thread.call(function, of: plugin)
                let result = await thread.call("write", of: plugin)
                #expect(result.stdout == "kept\n")
                #expect(result.stderr == "kept too\n")
            }
        }
    }

    /// Another call that ends meanwhile must not take the redirection away.
    @Test func redirectionLastsAsLongAsItsCall() async {
        await #expect(processExitsWith: .success) {
            let first = try PluginThread()
            let second = try PluginThread()
            let plugin = try await first.load(Self.script).get().plugin
            async let redirected = first.call("redirect", of: plugin)
            _ = await second.call("wait_entered", of: plugin)
            _ = await second.call("write", of: plugin)
            _ = await second.call("let_leave", of: plugin)
            let result = await redirected
            #expect(try result.text?.hasPrefix("first\n") == true)
            #expect(try result.text?.hasSuffix("second\n") == true)
            #expect(result.stdout == "third\n")
            #expect(await second.call("write", of: plugin).stdout == "kept\n")
        }
    }
}
