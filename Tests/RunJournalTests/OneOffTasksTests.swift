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

    @Test(arguments: [0, 5000])
    func takesManyAtOnceAndSplitsWhatGrows(expected: Int) {
        let ids = (0..<20_000).map { "task-\($0)" }
        var rest = ids.prefix(5000)[...]
        var tasks = OneOffTasks(expected: expected, shardSize: 4) { rest.popFirst() }
        #expect(tasks.count == 5000)
        for id in ids.dropFirst(5000) + ids.prefix(10) { tasks.insert(id) }
        #expect(tasks.count == ids.count)
        #expect(ids.allSatisfy { tasks.contains($0) })
        #expect(!(20_000..<40_000).contains { tasks.contains("task-\($0)") })
        for id in ids.prefix(1000) { tasks.remove(id) }
        #expect(tasks.count == ids.count - 1000 && !ids.prefix(1000).contains { tasks.contains($0) })
    }

    @Test func idsThatOnlyLookTheSameAreTwo() {
        var tasks = OneOffTasks()
        tasks.insert("caf\u{E9}")
        #expect(tasks.contains("caf\u{E9}"))
        #expect(!tasks.contains("cafe\u{301}"))
    }
}
