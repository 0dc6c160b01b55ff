import Foundation
import ReliabilityTesting
import Testing

/// The short form of `make chaos`.
@Suite struct ChaosTests {
    @Test func nothingIsLostAndNothingRunsTwiceWhileTheAgentIsKilled() async throws {
        let agent = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "runbook-agent")
        let seed = UInt64.random(in: 1...999_999_999)
        let report = try await ChaosRun.run(
            ChaosOptions(
                agent: agent.path, kills: 20, seed: seed, faultPercent: 15, settleLimit: .seconds(120),
                includesWedging: false)
        ) { _ in }
        #expect(report.kills == 20)
        #expect(report.calls > 0)
        #expect(report.isGood, "seed \(seed); \(report.violations); logs in \(report.folder ?? "")")
    }
}
