import ArgumentParser
import Diagnostics
import Foundation
import Glibc

/// What goes to a person's screen.
enum Screen {
    static func writeError(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data((line.withoutControlCharacters + "\n").utf8))
    }

    /// What a plugin printed, for a file or program as it is, for a person's screen without what could move its cursor.
    static func write(_ bytes: Data, on output: FileHandle) {
        let isScreen = isatty(output.fileDescriptor) == 1
        let shown = isScreen ? Data(String(decoding: bytes, as: UTF8.self).withoutControlCharacters.utf8) : bytes
        // Where nobody reads any more there is nobody to tell.
        try? output.write(contentsOf: shown)
    }

    /// Whether somebody sits in front of it who can be asked.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1 }

    /// Asks a question on standard error and reads a line.
    static func ask(_ question: String, hidingAnswer: Bool = false) -> String? {
        try? FileHandle.standardError.write(contentsOf: Data(question.utf8))
        var before = termios()
        let hides = hidingAnswer && tcgetattr(STDIN_FILENO, &before) == 0
        if hides {
            var hidden = before
            hidden.c_lflag &= ~tcflag_t(ECHO)
            tcsetattr(STDIN_FILENO, TCSANOW, &hidden)
        }
        defer {
            if hides {
                tcsetattr(STDIN_FILENO, TCSANOW, &before)
                try? FileHandle.standardError.write(contentsOf: Data("\n".utf8))
            }
        }
        return readAnswer()
    }

    /// A line of standard input. By read(2): whoever ends the process meanwhile must not wait for a lock of the C library.
    private static func readAnswer() -> String? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            let count = read(STDIN_FILENO, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1 else { return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self) }
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
    }

    /// Asks before something is done that can't be undone. Without a terminal there is nobody to ask.
    /// - Throws: `ExitCode.failure` where the answer isn't yes.
    static func confirm(_ question: String, unless isSure: Bool) throws {
        guard isInteractive, !isSure else { return }
        guard ask("\(question) [y/N] ")?.lowercased().hasPrefix("y") == true else { throw ExitCode.failure }
    }
}
