import AgentModel
import CronSchedule
import Diagnostics
import Testing

/// Errors in expressions.
@Suite struct CronParserTests {
    struct Refusal: Sendable, CustomTestStringConvertible {
        var expression: String
        var field: CronField?
        var mentions: String

        init(_ expression: String, _ field: CronField?, _ mentions: String) {
            self.expression = expression
            self.field = field
            self.mentions = mentions
        }

        var testDescription: String { expression }
    }

    @Test(arguments: [
        Refusal("61 * * * *", .minute, "\"61\" is out of its range"),
        Refusal("* 24 * * *", .hour, "\"24\" is out of its range"),
        Refusal("* * 0 * *", .dayOfMonth, "1-31"),
        Refusal("* * * 13 *", .month, "jan-dec"),
        Refusal("* * * * 8", .dayOfWeek, "0-7"),
        Refusal("* * * * * 60", .second, "0-59"),
        Refusal("* * * * * 0 2100", .year, "1970-2099"),
        Refusal("*/0 * * * *", .minute, "step"),
        Refusal("1,,2 * * * *", .minute, "empty"),
        Refusal("* ? * * *", .hour, "?"),
        Refusal("* * 15W,3 * *", .dayOfMonth, "list"),
        Refusal("* * 40W * *", .dayOfMonth, "40w"),
        Refusal("* * * * 5#6", .dayOfWeek, "1 to 5"),
        Refusal("* * * * mon,tue#2", .dayOfWeek, "plain weekdays"),
        Refusal("* * * * 1-5#2", .dayOfWeek, "names"),
        Refusal("H * * * *", .minute, "hashed"),
        Refusal("R(0-5) * * * *", .minute, "random"),
        Refusal("r/5 * * * *", .minute, "random"),
        Refusal("* * * *", nil, "4 fields"),
        Refusal("* * * * * * * *", nil, "8 fields"),
        Refusal("", nil, "0 fields"),
        Refusal("@fortnightly", nil, "@weekly"),
        Refusal("* * * * \u{1B}[31m", .dayOfWeek, "\\u{1b}"),
    ])
    func refusal(_ refusal: Refusal) throws {
        let error = try #require(throws: CronScheduleError.self) { try CronSchedule(refusal.expression) }
        guard case .invalidExpression(refusal.expression, let field, _) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(field == refusal.field)
        #expect(error.code == "task.invalid_cron")
        #expect(error.message.contains(refusal.mentions), "\(error.message)")
        #expect(error.message.contains(quoted(refusal.expression)))
        if let name = refusal.field?.name { #expect(error.message.contains("in its \(name) field")) }
    }

    /// A very long expression is refused, one that lists every value isn't.
    @Test func length() throws {
        let years = (1970...2099).map(String.init).joined(separator: ",")
        let sixty = (0...59).map(String.init).joined(separator: ",")
        _ = try CronSchedule("\(sixty) * * * * \(sixty) \(years)")
        #expect(throws: CronScheduleError.self) {
            try CronSchedule(Array(repeating: "0", count: 3_000).joined(separator: ",") + " * * * *")
        }
    }

    /// Equality and description are those of the text.
    @Test func text() throws {
        let schedule = try CronSchedule("0 8 * * MON")
        #expect(schedule.description == "0 8 * * MON")
        #expect(try schedule == CronSchedule("0 8 * * MON"))
        #expect(try schedule != CronSchedule("0 8 * * mon"))
    }
}
