import PythonEmbedding
import Testing

/// Stopping a call that its thread hasn't begun, as happens while that thread waits for the GIL. Such a request once
/// got lost, and the call ran on without a limit.
@Suite struct CallSlotStopTests {
    private static let script = """
        from runbooksolutions.agent import stop_requested
        class Plugin:
            def run(self):
                return stop_requested()
        """

    @Test func askedBeforeItBegan() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let plugin = try await thread.load(Self.script, id: "asked-early").get().plugin
        let results = await thread.run { slot, gil in
            let id = PluginThread.nextID()
            let wasRunning = slot.requestStop(of: id, gil: gil)
            let asked = slot.call("run", of: plugin, arguments: "{}", id: id, gil: gil)
            let next = slot.call("run", of: plugin, arguments: "{}", id: PluginThread.nextID(), gil: gil)
            return (wasRunning, asked, next)
        }
        #expect(!results.0)
        #expect(try results.1.text == "true")
        #expect(try results.2.text == "false")
    }

    @Test func stoppedBeforeItBegan() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let plugin = try await thread.load(Self.script, id: "stopped-early").get().plugin
        let results = await thread.run { slot, gil in
            let id = PluginThread.nextID()
            slot.inject(into: id, gil: gil)
            let stopped = slot.call("run", of: plugin, arguments: "{}", id: id, gil: gil)
            let next = slot.call("run", of: plugin, arguments: "{}", id: PluginThread.nextID(), gil: gil)
            return (stopped, next)
        }
        guard case .timeLimitExceeded = results.0.failure else {
            Issue.record("\(results.0.value)")
            return
        }
        #expect(try results.1.text == "false")
    }

    /// A request that comes after the end must not reach the next call.
    @Test func stoppedAfterItEnded() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let plugin = try await thread.load(Self.script, id: "stopped-late").get().plugin
        let next = await thread.run { slot, gil in
            let id = PluginThread.nextID()
            _ = slot.call("run", of: plugin, arguments: "{}", id: id, gil: gil)
            slot.inject(into: id, gil: gil)
            return slot.call("run", of: plugin, arguments: "{}", id: PluginThread.nextID(), gil: gil)
        }
        #expect(try next.text == "false")
    }
}
