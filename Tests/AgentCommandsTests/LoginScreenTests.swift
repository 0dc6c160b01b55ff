import Testing

@testable import AgentCommands

/// What `login` shows a person.
@Suite struct LoginScreenTests {
    private static let link = "https://backend.example/device?user_code=VGDF-SJFR"

    private func lines(columns: Int, rows: Int, link: String? = Self.link) -> [String] {
        LoginScreen.lines(
            "VGDF-SJFR", address: "https://backend.example/device", link: link,
            terminal: LoginScreen.TerminalSize(columns: columns, rows: rows))
    }

    private func hasQRCode(_ lines: [String]) -> Bool { lines.contains { $0.hasPrefix("\u{1B}[97;40m") } }

    @Test func aTerminalThatIsLargeEnoughShowsAQRCode() {
        #expect(hasQRCode(lines(columns: 100, rows: 60)))
        #expect(!hasQRCode(lines(columns: 100, rows: 60, link: nil)))
        #expect(!hasQRCode(LoginScreen.lines("VGDF-SJFR", address: "a", link: Self.link, terminal: nil)))
    }

    @Test func aQRCodeThatWouldScrollTheCodeAwayIsLeftOut() {
        for rows in 1...80 {
            let lines = lines(columns: 100, rows: rows)
            // The countdown comes below.
            if hasQRCode(lines) { #expect(lines.count < rows) }
            #expect(lines.contains("    VGDF-SJFR"))
        }
        #expect(!hasQRCode(lines(columns: 100, rows: 24)))
    }

    @Test func aQRCodeThatIsTooWideIsLeftOut() {
        #expect(!hasQRCode(lines(columns: 30, rows: 100)))
    }
}
