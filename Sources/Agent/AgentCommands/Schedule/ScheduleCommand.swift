import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import CronSchedule
import Diagnostics
import Foundation

struct ScheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule", abstract: "Inspect cron schedules.",
        discussion: """
            EXAMPLE
              runbook-agent schedule next '0 9 * * mon-fri'
            """, subcommands: [ScheduleNextCommand.self])
}

struct ScheduleNextCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "next", abstract: "Print the next fire times of cron expressions.",
        discussion: """
            EXAMPLE
              runbook-agent schedule next '*/15 9-17 * * mon-fri' --count 3 --timezone Europe/Berlin
            """)

    @Argument(help: "Cron expressions, each in quotes.")
    var expressions: [String]

    @Option(name: .long, help: "How many fire times to print for each.")
    var count = 5

    @Option(name: .long, help: ArgumentHelp("Start after this time (RFC 3339). Default: now.", valueName: "time"))
    var from: String?

    @Option(
        name: .long,
        help: ArgumentHelp("A time zone of tzdata, such as Europe/Berlin. Default: the host's.", valueName: "zone"))
    var timezone: String?

    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard !expressions.isEmpty else { throw ValidationError("give at least one cron expression") }
        guard 1...10_000 ~= count else { throw ValidationError("--count is 1 to 10000, not \(count)") }
        if let from, RFC3339.date(from: from) == nil {
            throw ValidationError("--from takes a time such as 2026-11-23T21:00:00Z, not \(quoted(from))")
        }
    }

    func run() async throws {
        let zone = if let timezone { try TimeZoneRules.named(timezone) } else { TimeZoneRules.local() }
        let start = from.flatMap(RFC3339.date) ?? Date()
        var rows: [FireTime] = []
        var hasWrong = false
        for expression in expressions {
            do throws(CronScheduleError) {
                rows += fireTimes(of: expression, try CronSchedule(expression), after: start, in: zone)
            } catch {
                // The others are printed all the same.
                hasWrong = true
                Terminal.writeError("error: \(error.message) [\(error.code)]")
            }
        }
        if !rows.isEmpty { try output.renderer.print(rows) }
        if hasWrong { throw ExitCode.failure }
    }

    private func fireTimes(
        of expression: String, _ schedule: CronSchedule, after start: Date, in zone: TimeZoneRules
    ) -> [FireTime] {
        var times: [FireTime] = []
        var time = Int64(start.timeIntervalSince1970.rounded(.down))
        while times.count < count, let next = schedule.next(after: time, in: zone) {
            times.append(FireTime(expression: expression, zone: zone, time: next))
            time = next
        }
        if times.isEmpty {
            Terminal.writeError("\(quoted(expression)) never fires after \(RFC3339.string(from: start))")
        }
        return times
    }

    private struct FireTime: Listable {
        let expression: String
        let local: String
        let utc: String
        let timezone: String

        init(expression: String, zone: TimeZoneRules, time: Int64) {
            self.expression = expression
            timezone = zone.identifier
            utc = Date(timeIntervalSince1970: Double(time)).formatted(.iso8601)
            let offset = zone.offset(at: time)
            let local = Date(timeIntervalSince1970: Double(time) + Double(offset)).formatted(.iso8601).dropLast()
            self.local = local + Self.text(ofOffset: Int(offset))
        }

        static let header = ["EXPRESSION", "LOCAL", "UTC"]
        var cells: [String] { [expression, local, utc] }

        private static func text(ofOffset offset: Int) -> String {
            let minutes = abs(offset) / 60
            func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
            return (offset < 0 ? "-" : "+") + two(minutes / 60) + ":" + two(minutes % 60)
        }
    }
}
