import AgentModel
import Foundation
import Testing

@testable import RunJournal

/// How a process ends inside of plugin code, and what the next one makes of it: an exit test is the first one.
@Suite struct CallTraceTests {
    struct End: Sendable, Codable, CustomTestStringConvertible {
        var name: String
        /// Nil: nothing says that plugin code did it.
        var sentence: String?
        var testDescription: String { name }
    }

    static let ends = [
        End(name: "segmentation fault", sentence: "by the signal SIGSEGV"),
        End(name: "stack overflow", sentence: "by the signal SIGSEGV"),
        End(name: "abort", sentence: "by the signal SIGABRT"),
        End(name: "_exit", sentence: "by ending it with the exit status 7"),
        End(name: "exit", sentence: "by ending it with exit()"),
        End(name: "kill", sentence: nil),
        End(name: "a child dies", sentence: nil),
        End(name: "another thread exits", sentence: nil),
        End(name: "after the call", sentence: nil),
    ]

    @Test(arguments: ends)
    func theNextProcessKnowsWhoEndedTheLast(_ end: End) async throws {
        let directory = JournalDirectory()
        let path = directory.path
        await #expect(processExitsWith: .failure) { [path = path as String, name = end.name as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            let guilty = oneOff("guilty")
            let beside = oneOff("beside")
            _ = try await journal.started(guilty)
            _ = try await journal.started(beside)
            let trace = try #require(journal.trace)
            trace.watchSignals()
            let entered = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                trace.enter(run: beside.runID.rawValue, plugin: "demo", scriptHash: "h")
                entered.signal()
                while true { pause() }
            }
            entered.wait()
            Thread.detachNewThread {
                trace.enter(run: guilty.runID.rawValue, plugin: "guilty-plugin", scriptHash: "h1")
                Endings.perform(name, trace)
            }
            while true { try await Task.sleep(for: .seconds(3600)) }
        }

        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.death?.sentence == end.sentence)
        let status = Dictionary(uniqueKeysWithValues: report.interrupted.map { ($0.taskID, $0.status) })
        #expect(status == ["guilty": end.sentence == nil ? .interrupted : .crashed, "beside": .interrupted])
        let guilty = report.interrupted.first { $0.taskID == "guilty" }
        #expect(guilty?.error?.code == (end.sentence == nil ? "run.interrupted" : "run.crashed"))
        #expect(end.sentence == nil || guilty?.error?.message.contains("guilty-plugin") == true)
        let crashes = try await journal.reader.pluginCrashes()
        #expect(crashes.mapValues(\.count) == (end.sentence == nil ? [:] : ["guilty-plugin": 1]))
        await journal.close()

        // The death counts once.
        let (again, second) = try await RunJournal.open(directory: path)
        #expect(second.death == nil)
        #expect(try await again.reader.pluginCrashes() == crashes)
        await again.close()
    }

    @Test func aTraceOfAnotherBootSaysNothing() async throws {
        let directory = JournalDirectory()
        let path = directory.path
        await #expect(processExitsWith: .failure) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            journal.trace?.enter(run: nil, plugin: "p", scriptHash: "h")
            _exit(1)
        }
        let trace = path + "/calls.trace"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: trace))
        let boot = try String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8).prefix(36)
        let range = try #require(bytes.range(of: Data(boot.utf8)))
        bytes[range.lowerBound] = bytes[range.lowerBound] == 0x30 ? 0x31 : 0x30
        try bytes.write(to: URL(fileURLWithPath: trace))
        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.death == nil)
        await journal.close()
    }

    @Test func aTraceThatIsCutOffSaysNothing() async throws {
        let directory = JournalDirectory()
        let journal = try await directory.open()
        await journal.close()
        try Data("RBTRACE1".utf8).write(to: URL(fileURLWithPath: directory.path + "/calls.trace"))
        let (again, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.death == nil)
        #expect(again.trace != nil)
        await again.close()
    }

    // MARK: Counting

    private func die(in directory: String, hash: String = "h", times: Int = 1) async {
        for _ in 0..<times {
            await #expect(processExitsWith: .failure) { [path = directory as String, hash = hash as String] in
                let (journal, _) = try await RunJournal.open(directory: path)
                journal.trace?.enter(run: nil, plugin: "demo", scriptHash: hash)
                _exit(1)
            }
        }
    }

    @Test func threeInARowAreAQuarantineUntilItIsReleased() async throws {
        let directory = JournalDirectory()
        await die(in: directory.path, times: 2)
        var journal = try await directory.open()
        #expect(try await journal.reader.pluginCrashes()["demo"]?.isQuarantined == false)
        await journal.close()
        await die(in: directory.path)
        journal = try await directory.open()
        #expect(try await journal.reader.pluginCrashes()["demo"]?.isQuarantined == true)
        // What ran before it was known doesn't lift it.
        try await journal.run(oneOff("late"))
        #expect(try await journal.reader.pluginCrashes()["demo"]?.isQuarantined == true)
        #expect(try await journal.release(plugin: "demo"))
        #expect(try await journal.reader.pluginCrashes().isEmpty)
        #expect(try await !journal.release(plugin: "demo"))
        await journal.close()
    }

    @Test func aSuccessEndsTheRow() async throws {
        let directory = JournalDirectory()
        await die(in: directory.path, times: 2)
        var journal = try await directory.open()
        let failed = oneOff("failed")
        _ = try await journal.started(failed)
        try await journal.finished(failed.runID, status: .failed, result: result())
        #expect(try await journal.reader.pluginCrashes()["demo"]?.count == 2)
        try await journal.run(oneOff("succeeded"))
        #expect(try await journal.reader.pluginCrashes().isEmpty)
        await journal.close()
        await die(in: directory.path)
        journal = try await directory.open()
        #expect(try await journal.reader.pluginCrashes()["demo"]?.count == 1)
        await journal.close()
    }

    // Every nightly run of one command took the agent down, and every hourly run of another one ended the row.
    @Test func aSuccessOfAnotherMethodDoesNotEndTheRow() async throws {
        let directory = JournalDirectory()
        for number in 1...3 {
            await #expect(processExitsWith: .failure) {
                [path = directory.path as String, task = "t\(number)" as String] in
                let (journal, _) = try await RunJournal.open(directory: path)
                let run = oneOff(task, function: "greet")
                _ = try await journal.begin(run)
                journal.trace?.enter(run: run.runID.rawValue, plugin: "demo", scriptHash: "h")
                _exit(1)
            }
            let journal = try await directory.open()
            try await journal.run(oneOff("other-\(number)", function: "other"))
            #expect(try await journal.reader.pluginCrashes()["demo"]?.count == number)
            await journal.close()
        }
        let journal = try await directory.open()
        #expect(try await journal.reader.pluginCrashes()["demo"]?.isQuarantined == true)
        await journal.close()
    }

    @Test func anotherScriptBeginsAtZero() async throws {
        let directory = JournalDirectory()
        await die(in: directory.path, times: 2)
        await die(in: directory.path, hash: "h2")
        let journal = try await directory.open()
        let crashes = try await journal.reader.pluginCrashes()["demo"]
        #expect(crashes?.count == 1)
        #expect(crashes?.scriptHash == "h2")
        await journal.close()
    }
}

/// Ways in which a process ends.
private enum Endings {
    static func perform(_ name: String, _ trace: CallTrace) -> Never {
        switch name {
        case "segmentation fault": UnsafeMutablePointer<Int>(bitPattern: 8)?.pointee = 1
        case "stack overflow": _ = deepen(0)
        case "abort": abort()
        case "_exit": _exit(7)
        case "exit": exit(7)
        case "kill": kill(getpid(), SIGKILL)
        case "a child dies":
            // Swift doesn't import fork(2), which plugins use.
            typealias Fork = @convention(c) () -> pid_t
            let fork = unsafeBitCast(dlsym(nil, "fork"), to: Fork.self)
            let child = fork()
            if child == 0 { _exit(9) }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            kill(getpid(), SIGKILL)
        case "another thread exits":
            Thread.detachNewThread { _exit(3) }
        case "after the call":
            trace.leave()
            _exit(3)
        default: break
        }
        while true { pause() }
    }

    @inline(never)
    private static func deepen(_ depth: Int) -> Int {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
            buffer[0] = UInt8(truncatingIfNeeded: depth)
            return deepen(depth + 1) + Int(buffer[0])
        }
    }
}
