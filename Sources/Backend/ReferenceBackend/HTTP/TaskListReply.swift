import AgentModel
import Cryptography
import Foundation
import Hummingbird

/// The answer of `GET /api/agent/tasks`: the list, and beside it what is wanted of runs.
///
/// Its validator has two parts, of the list with the agent's document and of what is wanted: one tells that the other half
/// is all that has changed.
struct TaskListReply {
    private let requests: RunRequests
    private let list: Data
    private let listTag: String
    private let requestsTag: String

    /// - Parameter epoch: Another where the backend has nothing more of what was told it of watched runs: agents that go on
    ///   telling are to hear that they are watched anew.
    init(tasks: [TaskDocument], agent: AgentDocument, requests: RunRequests, epoch: String) throws {
        self.requests = requests
        var writer = JSONWriter(capacity: 160 * tasks.count)
        tasks.writeJSON(to: &writer)
        list = Data(writer.bytes)
        listTag = try Self.tag(of: list + JSONReply.encoded(agent))
        var wanted = requests == .none ? Data() : try JSONReply.encoded(Wishes(requests, isUnchanged: nil))
        if !requests.watch.isEmpty { wanted += Data(epoch.utf8) }
        requestsTag = wanted.isEmpty ? "" : "-" + Self.tag(of: wanted)
    }

    private static func tag(of data: Data) -> String { String(SHA512.hash(data).hex.prefix(48)) }

    /// `304` where the client has all of it, and where it waits for changes only what has changed.
    func response(to request: Request) throws -> Response {
        let known = JSONReply.validators(in: request)
        let tag = "\"\(listTag)\(requestsTag)\""
        var response: Response
        if known.contains("*") || known.contains(tag) {
            response = Response(status: .notModified)
        } else if request.preferredWait != nil, known.contains(where: { $0.dropFirst().hasPrefix(listTag) }) {
            response = JSONReply.response(
                try JSONReply.encoded(Wishes(requests, isUnchanged: true)), status: .ok)
        } else {
            response = JSONReply.response(try body, status: .ok)
        }
        return JSONReply.makePrivate(response, tag: tag)
    }

    private var body: Data {
        get throws {
            var body = Data("{".utf8)
            if requests != .none {
                // Without its braces.
                body +=
                    try JSONReply.encoded(Wishes(requests, isUnchanged: nil)).dropFirst().dropLast() + Data(",".utf8)
            }
            return body + Data(#""data":"#.utf8) + list + Data("}".utf8)
        }
    }
}

/// What is wanted of runs, as it is sent.
private struct Wishes: Encodable {
    var unchanged: Bool?
    var watch: [String]
    var cancel: [RunRequests.Cancel]
    /// Left out where there is none.
    var stack: [RunRequests.Stack]?

    init(_ requests: RunRequests, isUnchanged: Bool?) {
        unchanged = isUnchanged
        watch = requests.watch.sorted()
        cancel = requests.cancel
        stack = requests.stacks.isEmpty ? nil : requests.stacks
    }
}
