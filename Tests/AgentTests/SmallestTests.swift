import Testing

@testable import Agent

@Suite struct SmallestTests {
    @Test(arguments: [0, 1, 3, 50, 1000])
    func theFirstOfManyAreThoseOfASort(_ count: Int) {
        var random = SystemRandomNumberGenerator()
        let numbers = (0..<500).map { _ in Int.random(in: 0..<100, using: &random) }
        #expect(numbers.min(count, by: <) == Array(numbers.sorted().prefix(count)))
    }
}
