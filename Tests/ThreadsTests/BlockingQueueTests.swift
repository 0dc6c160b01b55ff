import Testing
import Threads

@Suite struct BlockingQueueTests {
    /// It never runs empty here, and must not keep what was taken.
    @Test func keepsTheOrderAndNothingElse() {
        final class Item: Sendable {
            let number: Int
            init(_ number: Int) { self.number = number }
        }
        let queue = BlockingQueue<Item>()
        queue.push(Item(0))
        weak var first: Item?
        for number in 1..<10_000 {
            queue.push(Item(number))
            let item = queue.pop()
            if number == 1 { first = item }
            #expect(item.number == number - 1)
        }
        #expect(first == nil)
        #expect(queue.pop().number == 9_999)
    }
}
