import AgentModel
import Foundation
import PluginExecution
import PythonEmbedding

/// Loading a thousand plugins of ten commands each into a fresh executor.
enum PluginLoading {
    /// - Returns: nanoseconds, and KiB of resident memory added.
    static func thousand() async throws -> (time: Int, memory: Int) {
        let executor = try InProcessExecutor(interpreter: .start(), workers: 1) {}
        let images = try (0..<1000).map { number in
            PluginImage(
                id: try PluginID("plugin-\(number)"), script: Array(script(number).utf8),
                path: "/plugins/plugin-\(number).py")
        }
        let before = try residentMemory()
        let start = ContinuousClock.now
        for image in images { try await executor.load(image) }
        let time = start.duration(to: .now).wholeNanoseconds
        let memory = try residentMemory() - before
        await executor.shutDown()
        return (time, memory)
    }

    private static func script(_ number: Int) -> String {
        let methods = (0..<10).map { command in
            """
                def command_\(command)(self, host, port=\(number), *, retries=3):
                    \"\"\"Command \(command) of plugin \(number).\"\"\"
                    self.calls += 1
                    result = {"host": host, "port": port, "retries": retries, "calls": self.calls}
                    if retries < 0:
                        raise ValueError(f"retries must not be negative: {retries}")
                    return result

            """
        }
        return """
            import json
            import logging
            from runbooksolutions.agent.API import API

            class Plugin:
                def __init__(self, api: API):
                    self.api = api
                    self.calls = 0

            \(methods.joined())
            """
    }

    /// KiB (proc(5), `VmRSS`).
    private static func residentMemory() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return line?.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }
}
