import Agent
import AgentModel
import CommandOutput
import DeviceAuthorization
import Diagnostics
import Foundation
import Glibc
import Synchronization
import Threads

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
        case .oldLoginStays(let error):
            show(
                Line(event: "old_login_stays", code: error.code, message: error.message),
                "The login before this one could not be revoked: \(error.message) [\(error.code)]. End it in the backend."
            )
        case .expired:
            show(Line(event: "expired"), "The code was not approved in time. Here is another one.")
        case .trouble(let error, let retryIn):
            let seconds = Int(retryIn.seconds.rounded(.up))
            show(
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
        let lines = Self.lines(
            code.userCode, address: code.verificationURI, link: code.verificationURIComplete,
            terminal: isTerminal ? Self.terminal : nil)
        print(lines.joined(separator: "\n"))
        fflush(nil)
    }

    struct TerminalSize {
        var columns: Int
        var rows: Int
    }

    /// What a person reads.
    /// - Parameter terminal: nil where it is no terminal; 80 columns are counted on then, and a QR code is left out.
    static func lines(_ userCode: String, address: String, link: String?, terminal: TerminalSize?) -> [String] {
        let width = terminal?.columns ?? 80
        var lines = ["", "Open this address, on any device:", "", "    \(address)", "", "and enter this code:", ""]
        if let letters = BlockLetters.lines(userCode, width: width - 4) {
            lines += letters.map { "    " + $0 } + [""]
        }
        lines += ["    \(userCode)", ""]
        guard let link else { return lines }
        lines += ["Or open this link, which has the code in it:", "", "    \(link)", ""]
        guard let terminal, let symbol = QRCode(link) ?? QRCode(link, correction: .low), symbol.textWidth <= width
        else { return lines }
        // The countdown and one that follows take a line each; what scrolls away can't be read across a room.
        let height = lines.reduce(0) { $0 + max(1, ($1.count + width - 1) / width) } + symbol.lines.count + 3
        return height <= terminal.rows ? lines + symbol.lines + [""] : lines
    }

    func loggedIn(as agent: AgentName, alreadyWas: Bool = false) {
        let name = agent.name.map { "\(quoted($0)), " } ?? ""
        show(
            Line(event: alreadyWas ? "already_logged_in" : "logged_in", agent: agent),
            (alreadyWas ? "This agent is logged in already" : "Logged in") + " as \(name)id \(quoted(agent.id)).")
    }

    /// Logged in, and the backend could not say as whom.
    func loggedIn(unknown error: any CodedError) {
        show(
            Line(event: "logged_in", code: error.code, message: error.message),
            "Logged in. The backend could not say as whom: \(error.message) [\(error.code)]")
    }

    /// With `--json`; people are told on standard error.
    func failed(_ error: any CodedError) {
        if isJSON { write(Line(event: "failed", code: error.code, message: error.message)) }
    }

    func show(_ text: String, event: String) { show(Line(event: event, message: text), text) }

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

    private func show(_ line: Line, _ text: String) {
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
    private static var terminal: TerminalSize {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return TerminalSize(columns: 80, rows: 24)
        }
        return TerminalSize(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }
}
