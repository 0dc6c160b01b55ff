public import Diagnostics

/// What can be wrong with a cron expression or a time zone.
public enum CronScheduleError: CodedError, Equatable {
    /// The expression does not parse. `field` is the part that is wrong, nil where it is the whole.
    case invalidExpression(expression: String, field: CronField?, problem: String)
    /// No such time zone, or a name that is none.
    case unknownTimeZone(identifier: String, problem: String)
    /// A time zone file that can't be read or isn't one.
    case invalidTimeZoneFile(identifier: String, problem: String)

    public var code: String {
        switch self {
        case .invalidExpression: "task.invalid_cron"
        case .unknownTimeZone: "schedule.unknown_time_zone"
        case .invalidTimeZoneFile: "schedule.invalid_time_zone_file"
        }
    }

    public var message: String {
        switch self {
        case .invalidExpression(let expression, .some(let field), let problem):
            "the cron expression \(quoted(expression)) is refused in its \(field.name) field: \(problem); "
                + "the field takes \(field.allowed)"
        case .invalidExpression(let expression, .none, let problem):
            "the cron expression \(quoted(expression)) is refused: \(problem)"
        case .unknownTimeZone(let identifier, let problem):
            "the time zone \(quoted(identifier)) is unknown: \(problem); use a name such as \"Europe/Berlin\" or "
                + "\"UTC\", spelled as in the tz database"
        case .invalidTimeZoneFile(let identifier, let problem):
            "the file of the time zone \(quoted(identifier)) can't be used: \(problem); install the package tzdata "
                + "again or use another zone"
        }
    }
}
