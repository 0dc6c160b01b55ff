import Testing

@testable import ReliabilityTesting

/// That the count of a chaos run sees what it is there to see.
@Suite struct ChaosLedgerTests {
    typealias Line = ChaosLedger.Line
    typealias Result = ChaosLedger.Result

    /// One thing wrong among things that are right.
    struct Case: Sendable, CustomTestStringConvertible {
        /// The check that must find it, and no other may; nil where nothing is wrong.
        let check: String?
        let lines: [Line]
        let results: [Result]
        var testDescription: String { check ?? "nothing wrong" }
    }

    private static func result(
        _ task: String, _ number: Int, status: String = "succeeded", marker: String? = nil, fire: String? = nil,
        startedAt: String? = nil
    ) -> Result {
        Result(
            sequence: Int64(number), task: task, runID: "run-\(number)", status: status,
            startedAt: startedAt ?? "2026-11-23T21:00:0\(number)Z", scheduledFor: fire, marker: marker)
    }

    static let cases = [
        Case(
            check: nil,
            lines: [
                Line(task: "once", marker: "a"), Line(task: "often", marker: "b"), Line(task: "often", marker: "c"),
            ],
            results: [
                result("once", 1, marker: "a"), result("often", 2, status: "interrupted", fire: "1"),
                result("often", 3, marker: "c", fire: "2"),
            ]),
        Case(check: "one-offs without a result (lost)", lines: [], results: []),
        Case(
            check: "one-offs run twice", lines: [Line(task: "once", marker: "a"), Line(task: "once", marker: "b")],
            results: [result("once", 1, marker: "a")]),
        Case(
            check: "results stored twice", lines: [Line(task: "once", marker: "a")],
            results: [result("once", 1, marker: "a"), result("once", 2, status: "interrupted")]),
        Case(
            check: "calls that a result doesn't tell of", lines: [Line(task: "often", marker: "b")],
            results: [result("once", 1, status: "rejected")]),
        Case(
            check: "calls that a result doesn't tell of", lines: [Line(task: "once", marker: "a")],
            results: [result("once", 1, status: "rejected")]),
        Case(
            check: "results of calls that weren't", lines: [], results: [result("once", 1, marker: "a")]),
        Case(check: "results of calls that weren't", lines: [], results: [result("once", 1)]),
        Case(
            check: "fire times run twice", lines: [],
            results: [
                result("once", 1, status: "rejected"), result("often", 2, status: "interrupted", fire: "1"),
                result("often", 3, status: "interrupted", fire: "1"),
            ]),
        Case(
            check: "results out of order", lines: [],
            results: [
                result("once", 1, status: "rejected"),
                result("often", 2, status: "interrupted", startedAt: "2026-11-23T22:00:00Z"),
                result("often", 3, status: "interrupted", startedAt: "2026-11-23T21:00:00Z"),
            ]),
    ]

    @Test(arguments: cases)
    func theCheckOfThatNameFindsIt(_ example: Case) {
        let checks = ChaosLedger(lines: example.lines, results: example.results)
            .violations(oneOffs: ["once"], schedules: ["often"])
        let failed = Set(checks.filter { !$0.violations.isEmpty }.map(\.name))
        guard let check = example.check else { return #expect(failed.isEmpty) }
        // A call too many is also one that no result tells of.
        #expect(failed.contains(check) && failed.subtracting([check, "calls that a result doesn't tell of"]).isEmpty)
    }

    @Test func theSameSeedGivesTheSameNumbers() {
        var (first, second) = (SeededRandom(seed: 7), SeededRandom(seed: 7))
        #expect((0..<100).map { _ in first.next() } == (0..<100).map { _ in second.next() })
    }
}
