import ArgumentParser
import Foundation
import ReliabilityTesting

@main
struct ChaosCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos", abstract: "Try to make the agent lose or repeat a run.",
        subcommands: [KillCommand.self, SoakCommand.self], defaultSubcommand: KillCommand.self)
}

struct KillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kill",
        abstract:
            "Kill an agent again and again, between a misbehaving network and plugins, and count what is missing.",
        discussion: "Exits 1 where a run was lost or repeated, and keeps the logs.")

    @Option(help: "How often the agent is killed.")
    var kills = 200

    @Option(help: "The seed of an earlier run, to have the same conditions again.")
    var seed: UInt64?

    @Option(help: "One-off tasks made before each kill, on average.")
    var tasks = 3

    @Option(help: "How many of 100 requests meet a fault.")
    var faults = 25

    @Option(help: "The runbook-agent to kill; by default the one that was built beside this program.")
    var agent: String?

    @Flag(help: "Keep the folder with logs and databases also where nothing was wrong.")
    var keep = false

    func run() async throws {
        let seed = seed ?? UInt64.random(in: 1...999_999_999)
        let options = ChaosOptions(
            agent: agent ?? BuiltAgent.path, kills: kills, seed: seed, oneOffsPerKill: tasks, faultPercent: faults,
            keepsFolder: keep)
        Console.say("seed \(seed)")
        let report = try await ChaosRun.run(options) { Console.say($0) }
        Console.say("\n" + report.table + "\n")
        for violation in report.violations { Console.say(violation) }
        if let folder = report.folder { Console.say("logs and databases are in \(folder)") }
        Console.say("seed \(seed)")
        guard report.isGood else { throw ExitCode.failure }
    }
}

/// The `runbook-agent` that was built with this program.
enum BuiltAgent {
    static var path: String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(filePath: own).deletingLastPathComponent().appending(path: "runbook-agent").path
    }
}
