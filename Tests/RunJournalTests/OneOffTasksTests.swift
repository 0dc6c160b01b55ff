import Testing

@testable import RunJournal

@Suite struct OneOffTasksTests {
    @Test func remembersEachIDOnceAndNoOther() {
        var tasks = OneOffTasks()
        let ids = (0..<20_000).map { "task-\($0)" }
        for id in ids.shuffled() + ids { tasks.insert(id) }
        #expect(tasks.count == ids.count)
        #expect(ids.allSatisfy { tasks.contains($0) })
        #expect(!(20_000..<40_000).contains { tasks.contains("task-\($0)") })
        #expect(!tasks.contains(""))
    }

    @Test func idsThatOnlyLookTheSameAreTwo() {
        var tasks = OneOffTasks()
        tasks.insert("caf\u{E9}")
        #expect(tasks.contains("caf\u{E9}"))
        #expect(!tasks.contains("cafe\u{301}"))
    }
}
