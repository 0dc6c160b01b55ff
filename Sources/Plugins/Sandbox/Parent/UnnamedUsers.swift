import AgentModel
internal import CSandbox
import Threads

/// User ids for the children of an agent that is root: of a range that neither the system's own users nor those of
/// containers come from, each with one child at a time.
enum UnnamedUsers {
    private static let count: UInt32 = 4096
    /// By chance, so that two agents of one host hardly have the same: each in a container may be process 1.
    private static let first = UInt32(RB_FIRST_UNNAMED_USER) | UInt32.random(in: 0...0xFFFF) << 12

    private struct State {
        var next: UInt32 = 0
        var taken: Set<UInt32> = []
    }

    private static let state = BlockingLock(State())

    /// One that no child has, or had lately: what is left of that one may still be ending. Nil where all are taken.
    static func take() -> SandboxUser? {
        state.withLock { state in
            for _ in 0..<count {
                let id = first + state.next
                state.next = (state.next + 1) % count
                if state.taken.insert(id).inserted { return SandboxUser(user: id, group: id) }
            }
            return nil
        }
    }

    /// Once, when nothing of the child is left. Ids that aren't of here are none of its business.
    static func giveBack(_ user: SandboxUser?) {
        guard let user else { return }
        state.withLock { _ = $0.taken.remove(user.user) }
    }
}
