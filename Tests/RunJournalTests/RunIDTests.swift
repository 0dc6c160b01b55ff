import Foundation
import Testing

@testable import RunJournal

@Suite struct RunIDTests {
    @Test func layoutIsVersion7() throws {
        // The example of RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
        let id = RunID(ticks: 0x017F_22E2_79B0 << 12 | 0xCC3, random: 0x18C4_DC0C_0C07_398F)
        #expect(id.rawValue == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    }

    @Test func idsOfManyThreadsAreDistinctAndSorted() async {
        let ids = await withTaskGroup(of: [RunID].self) { group in
            for _ in 0..<4 { group.addTask { (0..<5000).map { _ in RunID() } } }
            return await group.reduce(into: [[RunID]]()) { $0.append($1) }
        }
        #expect(Set(ids.joined()).count == 20_000)
        for list in ids { #expect(list == list.sorted()) }
    }

    @Test func readsWhatAPersonTypes() {
        let id = RunID()
        #expect(RunID(id.rawValue.uppercased()) == id)
        #expect(RunID("") == nil)
        #expect(RunID(id.rawValue + "0") == nil)
        #expect(RunID("../../../etc/passwd/etc/passwd/etc/p") == nil)
    }
}
