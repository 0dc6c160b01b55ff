import Dispatch
import Foundation
import Logging
import Synchronization
import Testing

@testable import ProcessLogging

@Suite final class LogHandlerTests {
    private let path = FileManager.default.temporaryDirectory.path + "/log-\(UUID().uuidString)"
    private let descriptor: Int32
    private let output: LogOutput

    init() {
        descriptor = open(path, O_RDWR | O_CREAT | O_APPEND, 0o600)
        output = LogOutput(fileDescriptor: descriptor)
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    private func logger(
        _ format: LogFormat = .text, label: String = "agent", level: Logger.Level = .info, isColoured: Bool = false
    ) -> Logger {
        let handler = LineLogHandler(
            label: label, format: format, level: level, output: output, isColoured: isColoured,
            now: { Date(timeIntervalSince1970: 1_795_467_600.125) })
        return Logger(label: label) { _ in handler }
    }

    private var written: String {
        #expect(output.flush(within: .seconds(60)))
        return (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    private func object(_ line: some StringProtocol) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test func writesForPeople() {
        logger().info(
            "started", metadata: ["workers": "4", "folder": "/a b", "empty": "", "sum": "a=b", "said": "\"no\""])
        #expect(
            written
                == "2026-11-23T21:00:00.125Z info    [agent] started empty=\"\" folder=\"/a b\" said=\"\\\"no\\\"\" sum=\"a=b\" workers=4\n"
        )
    }

    @Test(arguments: [LogFormat.text, .json]) func secretsOfURLsAreNotWritten(_ format: LogFormat) {
        logger(format).error(
            "in 'http://user:hunter2@127.0.0.1:99999'", metadata: ["proxy": "http://user:hunter2@proxy.example:1"])
        #expect(written.contains("http://(hidden)@127.0.0.1:99999"))
        #expect(written.contains("http://(hidden)@proxy.example:1"))
        #expect(!written.contains("hunter2"))
    }

    @Test func coloursOnlyWhenAsked() {
        logger(isColoured: true).error("x")
        #expect(written.contains("\u{1B}[31merror   \u{1B}[0m"))
        let output = LogOutput(fileDescriptor: descriptor)
        // A file is no terminal.
        #expect(!output.isColoured(environment: [:]))
    }

    @Test func coloursATerminalThatWantsIt() throws {
        let terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        try #require(terminal >= 0)
        defer { close(terminal) }
        let output = LogOutput(fileDescriptor: terminal)
        #expect(output.isColoured(environment: [:]))
        #expect(output.isColoured(environment: ["NO_COLOR": ""]))
        #expect(!output.isColoured(environment: ["NO_COLOR": "1"]))
        #expect(!output.isColoured(environment: ["TERM": "dumb"]))
    }

    @Test func nothingLogsInAnothersName() throws {
        let hostile = "x\n2026-11-23T21:00:00.000Z info [agent] forged\r\u{1B}[2J\u{9B}31m\u{202E}\u{2028}\u{7F}\u{0}"
        logger(label: "a\nb").info("\(hostile)", metadata: ["k\ney": "\(hostile)", "list": ["a\nb", "\u{1B}c"]])
        logger(.json).info("\(hostile)", metadata: ["k\ney": "\(hostile)"])
        let lines = written.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 3 && lines[2].isEmpty)
        let allowed = written.unicodeScalars.allSatisfy { scalar in
            scalar == "\n" || scalar.value >= 0x20 && ![0x7F, 0x9B, 0x202E, 0x2028].contains(scalar.value)
        }
        #expect(allowed)
        let json = try object(lines[1])
        #expect(json["message"] as? String == hostile)
        #expect(json["k\ney"] as? String == hostile)
    }

    @Test func writesJSON() throws {
        logger(.json).warning(
            "said \"no\"",
            metadata: [
                "count": .stringConvertible(3), "ratio": .stringConvertible(0.5), "on": .stringConvertible(true),
                "list": ["a", "b"], "map": ["k": "v"], "message": "mine", "emoji": "☕\u{E0001}",
            ])
        let json = try object(written.dropLast())
        #expect(json["time"] as? String == "2026-11-23T21:00:00.125Z")
        #expect(json["level"] as? String == "warning")
        #expect(json["label"] as? String == "agent")
        #expect(json["message"] as? String == "said \"no\"")
        #expect(json["message_"] as? String == "mine")
        #expect(json["count"] as? Int == 3)
        #expect(json["ratio"] as? Double == 0.5)
        #expect(json["on"] as? Bool == true)
        #expect(json["list"] as? [String] == ["a", "b"])
        #expect(json["map"] as? [String: String] == ["k": "v"])
        #expect(json["emoji"] as? String == "☕\u{E0001}")
    }

    @Test func mergesMetadataAndKeepsErrors() throws {
        var logger = logger(.json, level: .debug)
        logger[metadataKey: "task"] = "t"
        logger[metadataKey: "run"] = "old"
        logger.trace("below the level")
        logger.debug("x", metadata: ["run": "new"])
        let json = try object(written.dropLast())
        #expect(json["task"] as? String == "t")
        #expect(json["run"] as? String == "new")
    }

    @Test func aHugeValueIsCut() {
        logger().info(
            "\(String(repeating: "m", count: 1_000_000))",
            metadata: ["k": "\(String(repeating: "v", count: 1_000_000))"])
        #expect(written.utf8.count < 20_000)
        #expect(written.contains("…"))
    }

    @Test func linesOfManyThreadsStayWhole() async throws {
        let text = String(repeating: "x", count: 3000)
        let logger = logger(.json)
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<200 { group.addTask { logger.info("\(text)", metadata: ["n": "\(number)"]) } }
        }
        let numbers = try written.split(separator: "\n").map { try object($0)["n"] as? String }
        #expect(Set(numbers).count == 200)
    }

    /// Each took a second to be dropped, and everybody who logged waited for that.
    @Test func whatNobodyReadsIsDroppedAndCounted() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let output = LogOutput(fileDescriptor: ends[1], capacity: 1 << 18)
        let handler = LineLogHandler(label: "agent", format: .json, output: output)
        let logger = Logger(label: "agent") { _ in handler }
        let count = 20_000
        for number in 0..<count { logger.info("a line", metadata: ["n": "\(number)"]) }
        // The end doesn't wait for ever.
        #expect(!output.flush(within: .milliseconds(10)))

        // Somebody reads again.
        let reading = ends[0]
        let text = Mutex("")
        let isRead = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            var (bytes, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
            while case let count = read(reading, &chunk, chunk.count), count > 0 { bytes += chunk[..<count] }
            text.withLock { $0 = String(decoding: bytes, as: UTF8.self) }
            isRead.signal()
        }
        #expect(output.flush(within: .seconds(60)))
        logger.info("the last line")
        #expect(output.flush(within: .seconds(60)))
        close(ends[1])
        isRead.wait()
        close(ends[0])
        let lines = try text.withLock { $0 }.split(separator: "\n").map { try object($0) }
        let dropped = lines.filter { $0["code"] as? String == "log.dropped" }.compactMap { $0["lines"] as? Int }
        let kept = lines.count { $0["message"] as? String == "a line" }
        #expect(!dropped.isEmpty)
        #expect(kept + dropped.reduce(0, +) == count)
        #expect(lines.contains { $0["message"] as? String == "the last line" })
    }

    @Test func aReaderThatIsGoneHoldsNothingUp() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        signal(SIGPIPE, SIG_IGN)
        close(ends[0])
        let output = LogOutput(fileDescriptor: ends[1])
        let handler = LineLogHandler(label: "agent", output: output)
        Logger(label: "agent") { _ in handler }.info("dropped")
        #expect(output.flush(within: .seconds(60)))
        close(ends[1])
    }
}
