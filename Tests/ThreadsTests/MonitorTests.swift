import Foundation
import Synchronization
import Testing
import Threads

@Suite struct MonitorTests {
    @Test func aWaitEndsWithASignal() async throws {
        let monitor = Monitor()
        let changed = Condition(of: monitor)
        let isThere = Mutex(false)
        let seen = BlockingQueue<Bool>()
        Thread.detachNewThread {
            monitor.withLock {
                while !isThere.withLock({ $0 }) { changed.wait() }
            }
            seen.push(true)
        }
        monitor.withLock { isThere.withLock { $0 = true } }
        changed.signal()
        #expect(seen.pop(within: .seconds(30)) == true)
    }

    @Test(arguments: [Condition.Clock.monotonic, .wall])
    func aWaitEndsAtItsTime(_ clock: Condition.Clock) {
        let monitor = Monitor()
        let never = Condition(of: monitor, clock: clock)
        let end = never.end(in: .milliseconds(20))
        #expect(!never.hasPassed(end))
        monitor.withLock { while never.wait(until: end) {} }
        #expect(never.hasPassed(end))
    }

    @Test func whatNeedsTheLockEndsTheProcessWithoutIt() async {
        await #expect(processExitsWith: .failure) { Monitor().assertLocked() }
        await #expect(processExitsWith: .failure) {
            let monitor = Monitor()
            monitor.withLock {}
            monitor.assertLocked()
        }
        await #expect(processExitsWith: .failure) {
            let monitor = Monitor()
            Condition(of: monitor).wait()
        }
        await #expect(processExitsWith: .success) {
            let monitor = Monitor()
            monitor.withLock { monitor.assertLocked() }
        }
    }

    @Test func theLockIsHeldAgainAfterAWait() async {
        await #expect(processExitsWith: .success) {
            let monitor = Monitor()
            let never = Condition(of: monitor)
            monitor.withLock {
                never.wait(until: never.end(in: .milliseconds(1)))
                monitor.assertLocked()
            }
        }
    }
}
