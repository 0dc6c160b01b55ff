import Agent
import AgentModel
import BackendClient
import Foundation
import Logging
import RunJournal

/// Results that wait, and a backend that fails at random: each request with a probability of 15 %.
enum FlakyDelivery {
    static let requestTimeout = Duration.seconds(5)

    enum Backend {
        case faultless
        /// Without answers that never come.
        case flaky
        case flakyAndHanging
    }

    /// - Parameters:
    ///   - share: of the results; those that fail several times in a row wait for longer than all others take.
    /// - Returns: nanoseconds until the backend has this share of the results.
    static func deliver(
        _ count: Int, share: Double = 1, to backend: Backend, seed: UInt64 = 20_261_127
    ) async throws -> Int {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (journal, _) = try await RunJournal.open(directory: folder)
        try await JournalGrowth.addResults(count, to: journal)

        var random = SplitMix64(state: seed)
        let faults = StaticServer.Fault.allCases.filter { backend == .flakyAndHanging || $0 != .silence }
        let server = try StaticServer(answers: [:], fallback: #"{"data":{"id":"1"}}"#) {
            guard backend != .faultless, Double.random(in: 0..<1, using: &random) < 0.15 else { return nil }
            return faults.randomElement(using: &random)
        }
        var settings = HTTPClient.Configuration()
        settings.timeLimit = requestTimeout
        let http = try HTTPClient(settings)
        let reporter = Reporter(
            journal: journal, client: try BackendClient(serverURL: "http://127.0.0.1:\(server.port)", http: http),
            clock: SystemWallClock.shared, isMinimal: false, logger: quietLogger)
        let target = Int((Double(count) * share).rounded(.down))
        let start = ContinuousClock.now
        let delivery = Task { try await reporter.run() }
        while server.acceptedCount < target { try await Task.sleep(for: .milliseconds(1)) }
        let time = start.duration(to: .now)
        delivery.cancel()
        _ = try? await delivery.value
        await http.shutdown()
        await journal.close()
        return time.wholeNanoseconds
    }
}

/// Says nothing, and costs nothing.
let quietLogger: Logger = {
    var logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    return logger
}()

/// A seeded generator.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
