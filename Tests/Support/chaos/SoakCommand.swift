import ArgumentParser
import ReliabilityTesting
import Threads

struct SoakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak", abstract: "Have one agent run very many tasks, and see what it holds at the end.",
        discussion: """
            Exits 1 where resident memory at the end is over 10 % more than after the warm-up, or a thread or a
            descriptor is left behind.
            """)

    @Option(help: "How many runs.")
    var runs = 200_000

    @Option(help: "After how many runs the memory is taken that the end is compared with.")
    var warmUp = 20_000

    @Option(help: "How many tasks are listed at the same time.")
    var list = 2000

    @Option(help: "The runbook-agent to watch; by default the one that was built beside this program.")
    var agent: String?

    func run() async throws {
        let options = SoakRun.Options(agent: agent ?? BuiltAgent.path, runs: runs, warmUp: warmUp, listed: list)
        let report = try await SoakRun.run(options) { Console.say($0.line) }
        let growth = Double(report.end.usage.residentBytes) / Double(report.warm.usage.residentBytes) - 1
        let sign = growth < 0 ? "" : "+"
        Console.say("memory since \(report.warm.runs) runs: \(sign)\((growth * 1000).rounded() / 10) %")
        Console.say("runs per second: \(Int(Double(report.end.runs) / report.end.seconds))")
        for failure in report.failures { Console.say(failure) }
        guard report.failures.isEmpty else { throw ExitCode.failure }
    }
}
