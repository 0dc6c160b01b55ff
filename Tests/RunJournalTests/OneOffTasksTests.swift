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

    /// More than the first arrays take, one after the other and all at once.
    @Test func remembersMoreThanTheFirstArraysTake() {
        let count = 20_000
        var tasks = OneOffTasks(shardBits: 2)
        for number in 0..<count { tasks.insert("task-\(number)") }
        var number = 0
        let loaded = OneOffTasks(expecting: count / 2, shardBits: 2) {
            defer { number += 1 }
            return number < count ? "task-\(number)" : nil
        }
        for tasks in [tasks, loaded] {
            #expect(tasks.count == count)
            #expect((0..<count).allSatisfy { tasks.contains("task-\($0)") })
            #expect(!(count..<count + 10_000).contains { tasks.contains("task-\($0)") })
        }
        for number in 0..<1000 { tasks.remove("task-\(number)") }
        #expect(tasks.count == count - 1000 && !tasks.contains("task-7") && tasks.contains("task-1000"))
    }

    @Test func anIDThatIsThereTwiceCountsOnce() {
        var ids = ["a", "b", "a", "a"]
        let tasks = OneOffTasks(expecting: 4) { ids.popLast() }
        #expect(tasks.count == 2 && tasks.contains("a") && tasks.contains("b"))
    }

    @Test func idsThatOnlyLookTheSameAreTwo() {
        var tasks = OneOffTasks()
        tasks.insert("caf\u{E9}")
        #expect(tasks.contains("caf\u{E9}"))
        #expect(!tasks.contains("cafe\u{301}"))
    }
}
