import AgentModel
import Diagnostics
import ProcessLogging

/// Where messages for people go that aren't a command's result.
enum StandardError {
    /// After what has been logged before it. Waits for a reader, but not for ever.
    static func write(_ line: String) {
        LogOutput.standardError.write(line.withoutControlCharacters + "\n")
        LogOutput.standardError.flush(within: .seconds(5))
    }
}
