import AgentModel
import Foundation
import Testing

@testable import Agent

@Suite struct CheckedTaskListTests {
    private func check(_ json: String) throws -> CheckedTaskList {
        CheckedTaskList(try JSONDecoder().decode(TaskList.self, from: Data(json.utf8)))
    }

    @Test func whatIsRightIsTakenAsItIs() throws {
        let list = try check(
            """
            [{"id": "a", "command": "p.x", "cron": null, "arguments": "{}"},
             {"id": "b", "command": "p.y", "cron": "* * * * *", "arguments": "{}"}]
            """)
        #expect(list.tasks.map(\.id) == ["a", "b"])
        #expect(list.rejections.isEmpty && list.complaints.isEmpty)
    }

    @Test func ofTwoTasksWithOneIDTheFirstCounts() throws {
        let list = try check(
            """
            [{"id": "a", "command": "p.x", "cron": null, "arguments": "{}"},
             {"id": "a", "command": "p.y", "cron": null, "arguments": "{}"}]
            """)
        #expect(list.tasks.map(\.command) == ["p.x"])
        #expect(list.complaints.map(\.code) == ["task.duplicate_id"])
    }

    @Test(arguments: ["", ".", "..", "a\\u0000b", "a\\nb", String(repeating: "a", count: 1025)])
    func anIDThatFitsNoURLIsRefused(_ id: String) throws {
        let list = try check(#"[{"id": "\#(id)", "command": "p.x", "cron": null, "arguments": "{}"}]"#)
        #expect(list.tasks.isEmpty)
        #expect(list.complaints.map(\.code) == ["task.invalid_id"])
    }

    @Test func whatCanNotBeReadIsRejectedUnderItsID() throws {
        let list = try check(
            """
            [{"id": "a", "command": "p.x", "cron": null, "arguments": "{}"},
             {"id": "b", "command": "p.x", "cron": 5, "arguments": "{}"},
             {"id": "a", "command": "p.x", "cron": 5, "arguments": "{}"},
             {"command": "p.x"}]
            """)
        #expect(list.tasks.map(\.id) == ["a"])
        #expect(list.rejections.map(\.id.text) == ["b"])
        #expect(list.rejections.first?.command == "p.x")
        // The third has the first one's id, and the last has none.
        #expect(list.complaints.count == 2)
    }
}
