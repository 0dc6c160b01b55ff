import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// The agent as process 1 of a pid namespace, as in a container without an init of its own.
@Suite(.enabled(if: geteuid() == 0, "making a pid namespace needs root"))
struct InitProcessTests {
    static let script = """
        import os, pathlib, signal, subprocess, time
        class Plugin:
            def leave_orphans(self, count):
                for _ in range(count): subprocess.run(["/bin/sh", "-c", "/bin/sleep 0.05 &"], check=True)

            def statuses(self):
                return [subprocess.run(["/bin/sh", "-c", f"exit {n}"]).returncode for n in range(5)]

            def zombies(self):
                def states():
                    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
                        try: yield path.read_text().rpartition(")")[2].split()[0]
                        except OSError: pass
                # Those that have only just ended may still be waited for.
                end = time.monotonic() + 10
                while (count := sum(state == "Z" for state in states())) and time.monotonic() < end: time.sleep(0.05)
                return count

            def terminate_first(self): os.kill(1, signal.SIGTERM)
            def kill_agent(self): os.kill(os.getpid(), signal.SIGKILL)
        """

    private func run(
        _ functions: [String], in folder: TemporaryFolder, once: Bool = true
    ) async throws -> (AgentProcess.Output, ScriptedBackend) {
        let backend = try ScriptedBackend()
        backend.addPlugin(
            "p", script: Self.script,
            functions: ["leave_orphans", "statuses", "zombies", "terminate_first", "kill_agent"])
        for function in functions {
            let arguments = function == "leave_orphans" ? #"{\"count\": 40}"# : "{}"
            backend.addTask(
                #"{"id": "\#(function)", "command": "p.\#(function)", "cron": null, "arguments": "\#(arguments)"}"#)
        }
        let settings = ["server_url=\(backend.server.url)", "auth=False", "poll_interval=3600"]
        let output = try await AgentProcess.run(
            ["run"] + (once ? ["--once"] : []) + settings.flatMap { ["--set", $0] }, directory: folder.path,
            wrapper: ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc"])
        return (output, backend)
    }

    @Test func orphansLeaveNoZombiesAndStatusesGoToWhoStarted() async throws {
        let (output, backend) = try await run(["leave_orphans", "statuses", "zombies"], in: TemporaryFolder())
        #expect(output.status == 0, "\(output.stderr)")
        #expect(try backend.results(of: "zombies").map(\.data) == ["0"], "\(output.stderr)")
        #expect(try backend.results(of: "statuses").map(\.data) == ["[0, 1, 2, 3, 4]"], "\(output.stderr)")
    }

    @Test func signalsArePassedOnAndTheStatusIsTheAgents() async throws {
        let (output, _) = try await run(["terminate_first"], in: TemporaryFolder(), once: false)
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("agent stopped"), "\(output.stderr)")
    }

    @Test func theSignalThatEndedTheAgentIsTold() async throws {
        let (output, _) = try await run(["kill_agent"], in: TemporaryFolder(), once: false)
        #expect(output.status == 128 + SIGKILL, "\(output.stderr)")
    }
}
