import AgentModel
import Sandbox
import Testing

@Suite struct SandboxNetworkTests {
    @Test(arguments: [
        ("none", "none"), ("full", "full"), ("FULL", "full"), ("tcp:443", "tcp:443"), ("dns", "dns"),
        ("tcp:443, dns", "dns,tcp:443"), ("tcp:8000-8100,tcp:443", "tcp:443,tcp:8000-8100"),
        ("tcp:1-5,tcp:3-9,tcp:10", "tcp:1-10"), ("tcp:1-65535", "tcp:1-65535"), ("tcp:7-7", "tcp:7"),
    ])
    func isReadAndWritten(_ text: String, _ written: String) throws {
        let network = try #require(SandboxNetwork(text))
        #expect(network.description == written)
        #expect(SandboxNetwork(written) == network)
        #expect(SandboxRequest(["network": .string(text)]).problems.isEmpty)
    }

    @Test(arguments: [
        "", ",", "tcp", "tcp:", "tcp:0", "tcp:65536", "tcp:9-1", "tcp:1-2-3", "tcp:-1", "udp:53", "none,tcp:1",
        "full,dns", "tcp:443,", "443", "tcp:a", "tcp:1-",
    ])
    func isRefused(_ text: String) {
        #expect(SandboxNetwork(text) == nil)
        // A document is held to the same words.
        #expect(SandboxRequest(["network": .string(text)]).problems.count == 1)
    }

    struct Pair: Sendable, CustomTestStringConvertible {
        var one: String
        var other: String
        var common: String
        var isWithin: Bool

        init(_ one: String, _ other: String, common: String, isWithin: Bool) {
            (self.one, self.other, self.common, self.isWithin) = (one, other, common, isWithin)
        }

        var testDescription: String { "\(one) and \(other)" }
    }

    @Test(arguments: [
        Pair("none", "none", common: "none", isWithin: true), Pair("none", "full", common: "none", isWithin: true),
        Pair("full", "none", common: "none", isWithin: false), Pair("full", "full", common: "full", isWithin: true),
        Pair("full", "tcp:1-65535", common: "tcp:1-65535", isWithin: false),
        Pair("tcp:443", "full", common: "tcp:443", isWithin: true),
        Pair("tcp:443", "tcp:80", common: "none", isWithin: false),
        Pair("tcp:400-500", "tcp:443,tcp:490-600", common: "tcp:443,tcp:490-500", isWithin: false),
        Pair("tcp:443", "dns,tcp:400-500", common: "tcp:443", isWithin: true),
        Pair("dns,tcp:443", "tcp:443", common: "tcp:443", isWithin: false),
        Pair("dns,tcp:443", "dns,tcp:443", common: "dns,tcp:443", isWithin: true),
    ])
    func comparesAndIntersects(_ pair: Pair) throws {
        let one = try #require(SandboxNetwork(pair.one))
        let other = try #require(SandboxNetwork(pair.other))
        #expect(one.intersection(other).description == pair.common)
        #expect(other.intersection(one).description == pair.common)
        #expect(one.isWithin(other) == pair.isWithin)
        #expect(one.intersection(other).isWithin(one) && one.intersection(other).isWithin(other))
    }
}
