import Agent
import AgentModel
import DeviceAuthorization
import Foundation
import Glibc
import Synchronization

/// What `login` shows: for people, or one JSON line an event.
final class LoginScreen: Sendable {
    private let isJSON: Bool
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private let countdown = Mutex<Date?>(nil)

    init(isJSON: Bool) { self.isJSON = isJSON }

    /// One line of `--json`; what is nil is left out.
    private struct Line: Encodable {
        var event: String
        var verificationURI: String?
        var verificationURIComplete: String?
        var userCode: String?
        var expiresAt: Date?
        var interval: Int?
        var code: String?
        var message: String?
        var retryIn: Int?
        var agent: AgentName?

        enum CodingKeys: String, CodingKey {
            case event, interval, code, message, agent
            case verificationURI = "verification_uri"
            case verificationURIComplete = "verification_uri_complete"
            case userCode = "user_code"
            case expiresAt = "expires_at"
            case retryIn = "retry_in"
        }
    }

    struct AgentName: Encodable {
        var id: String
        var name: String?
        var teamID: String?

        enum CodingKeys: String, CodingKey {
            case id, name
            case teamID = "team_id"
        }
    }

    // MARK: Events

    func show(_ event: DeviceLogin.Event) {
        switch event {
        case .code(let code): show(code, event: "code")
        case .expired:
            say(Line(event: "expired"), "The code was not approved in time. Here is another one.")
        case .trouble(let error, let retryIn):
            let seconds = Int(retryIn.seconds.rounded(.up))
            say(
                Line(event: "trouble", code: error.code, message: error.message, retryIn: seconds),
                "\(error.message) [\(error.code)]; trying again in \(seconds) s")
        }
    }

    func show(_ code: DeviceCode, event: String) {
        countdown.withLock { $0 = code.expiresAt }
        guard !isJSON else {
            return write(
                Line(
                    event: event, verificationURI: code.verificationURI,
                    verificationURIComplete: code.verificationURIComplete, userCode: code.userCode,
                    expiresAt: code.expiresAt, interval: code.interval))
        }
        let width = Self.width
        var lines = [
            "", "Open this address, on any device:", "", "    \(code.verificationURI)", "", "and enter this code:", "",
        ]
        if let letters = BlockLetters.lines(code.userCode, width: width - 4) {
            lines += letters.map { "    " + $0 } + [""]
        }
        lines += ["    \(code.userCode)", ""]
        if let link = code.verificationURIComplete {
            lines += ["Or open this link, which has the code in it:", "", "    \(link)", ""]
            if isTerminal, let symbol = QRCode(link) ?? QRCode(link, correction: .low), symbol.textWidth <= width {
                lines += symbol.lines + [""]
            }
        }
        print(lines.joined(separator: "\n"))
        fflush(nil)
    }

    func loggedIn(as agent: AgentName, alreadyWas: Bool = false) {
        let name = agent.name.map { "\(quoted($0)), " } ?? ""
        say(
            Line(event: alreadyWas ? "already_logged_in" : "logged_in", agent: agent),
            (alreadyWas ? "This agent is logged in already" : "Logged in") + " as \(name)id \(quoted(agent.id)).")
    }

    /// Logged in, and the backend could not say as whom.
    func loggedIn(unknown error: any CodedError) {
        say(
            Line(event: "logged_in", code: error.code, message: error.message),
            "Logged in. The backend could not say as whom: \(error.message) [\(error.code)]")
    }

    func say(_ text: String, event: String) { say(Line(event: event, message: text), text) }

    // MARK: Countdown

    /// Counts down on the last line of a terminal until the task is cancelled.
    func count() async {
        guard isTerminal, !isJSON else { return }
        while !Task.isCancelled {
            if let end = countdown.withLock({ $0 }) {
                let left = max(0, Int(end.timeIntervalSinceNow.rounded(.up)))
                let seconds = left % 60
                print(
                    "\rWaiting for approval: \(left / 60):\(seconds < 10 ? "0" : "")\(seconds) left  ", terminator: "")
                fflush(nil)
            }
            try? await Task.sleep(for: .seconds(1))
        }
        print("\r\u{1B}[K", terminator: "")
    }

    // MARK: Output

    private func say(_ line: Line, _ text: String) {
        if isJSON { return write(line) }
        print((isTerminal ? "\r\u{1B}[K" : "") + Terminal.sanitized(text))
        fflush(nil)
    }

    private func write(_ line: Line) {
        guard let text = try? ListRenderer.json(line) else { return }
        print(text)
        fflush(nil)
    }

    /// Of the terminal, or as of one of the usual size.
    private static var width: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
