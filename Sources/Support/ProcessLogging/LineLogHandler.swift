public import Foundation
public import Logging

/// Writes log events as lines, for people or as JSON.
///
/// What comes from a backend or a plugin can neither begin a line of its own nor send a sequence to the terminal:
/// control and format characters are escaped.
public struct LineLogHandler: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let output: LogOutput
    private let isColoured: Bool
    private let now: @Sendable () -> Date

    /// - Parameters:
    ///   - isColoured: for ``LogFormat/text`` only.
    ///   - now: the clock that dates the lines.
    public init(
        label: String, format: LogFormat = .text, level: Logger.Level = .info, output: LogOutput = .standardError,
        isColoured: Bool = false, metadataProvider: Logger.MetadataProvider? = nil,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.label = label
        self.format = format
        self.output = output
        self.isColoured = isColoured
        self.metadataProvider = metadataProvider
        self.now = now
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() { fields.merge(provided) { _, new in new } }
        if let own = event.metadata { fields.merge(own) { _, new in new } }
        if let error = event.error, fields["error"] == nil { fields["error"] = "\(error)" }
        let line = LogLine(
            time: now(), level: event.level, label: label, message: event.message.description, fields: fields)
        output.write(text(of: line), notice: notice)
    }

    private func text(of line: LogLine) -> String {
        switch format {
        case .text: line.text(isColoured: isColoured)
        case .json: line.json
        }
    }

    private func notice(dropped: Int) -> String {
        text(
            of: LogLine(
                time: now(), level: .warning, label: label,
                message: "lines of this log were dropped: nobody took them in time, or they could not be written",
                fields: ["code": "log.dropped", "lines": .stringConvertible(dropped)]))
    }

    /// What makes handlers for `LoggingSystem.bootstrap(_:)` or for one `Logger(label:factory:)`.
    public static func factory(
        format: LogFormat, level: Logger.Level, output: LogOutput = .standardError, environment: [String: String]
    ) -> @Sendable (_ label: String) -> any LogHandler {
        let isColoured = output.isColoured(environment: environment)
        return { label in
            LineLogHandler(label: label, format: format, level: level, output: output, isColoured: isColoured)
        }
    }

    /// Makes this the handler of all loggers of the process. Called once, before the first logger is made.
    public static func bootstrap(format: LogFormat, level: Logger.Level, environment: [String: String]) {
        LoggingSystem.bootstrap(factory(format: format, level: level, environment: environment))
    }
}
