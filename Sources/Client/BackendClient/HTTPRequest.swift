public import Foundation

/// The request methods that are sent (RFC 9110, section 9; RFC 5789).
public enum HTTPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case patch = "PATCH"
    case delete = "DELETE"
    case options = "OPTIONS"

    /// Reads a name in either case; nil for a method that isn't known.
    public init?(name: String) { self.init(rawValue: name.uppercased()) }
}

/// One header field of a request.
public struct HTTPHeader: Sendable, CustomStringConvertible, CustomReflectable {
    public let name: String
    let value: String
    /// A secret is sent only to the origin of the request it was put on, and shown nowhere.
    public let isSecret: Bool

    public init(name: String, value: String, isSecret: Bool = false) {
        self.name = name
        self.value = value
        self.isSecret = isSecret
    }

    public var description: String { "\(name): \(isSecret ? "(hidden)" : value)" }

    // `dump` and a crash report's printing go through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }

    /// Why this field must not go on the wire (RFC 9110, section 5), or nil. Never names the value.
    var problem: String? {
        let isToken = !name.isEmpty && name.utf8.allSatisfy(Self.isTokenByte)
        if !isToken { return "its name is no header name" }
        if value.utf8.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7F }) {
            return "its value has a control character"
        }
        // These say where one message ends and the next begins, which is the transport's to say.
        if ["host", "content-length", "transfer-encoding", "connection", "expect"].contains(name.lowercased()) {
            return "it is set by the transport"
        }
        return nil
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

/// One request, with the limits that hold for it and for the redirects it leads to.
public struct HTTPRequest: Sendable, CustomStringConvertible, CustomReflectable {
    public var method: HTTPMethod
    public var url: HTTPURL
    public var headers: [HTTPHeader]
    public var body: Data?
    /// What of the body must be shown nowhere, also where the answer repeats it.
    public var bodySecrets: [String]
    /// For all of it, redirects and the wait for a free slot included; nil for the client's.
    public var timeLimit: Duration?
    /// How long next to nothing may arrive or leave; nil for the client's. A long poll needs more.
    public var idleLimit: Duration?
    /// Bytes of the body after decompression; nil for the client's.
    public var responseLimit: Int?
    /// Whether a redirect to another origin is refused: for a body that is a secret.
    public var staysAtOrigin: Bool
    /// Whether it goes over a connection of its own. One that was open before may have been closed meanwhile, and
    /// libcurl then sends the request again, which the server may have taken the first time.
    public var usesNewConnection: Bool
    /// Whether a redirect that would make it a GET (`303`) is refused: the answer to that says nothing of a body that
    /// was to be taken.
    public var keepsMethod: Bool

    public init(
        method: HTTPMethod = .get, url: HTTPURL, headers: [HTTPHeader] = [], body: Data? = nil,
        bodySecrets: [String] = [], timeLimit: Duration? = nil, idleLimit: Duration? = nil, responseLimit: Int? = nil,
        staysAtOrigin: Bool = false, usesNewConnection: Bool = false, keepsMethod: Bool = false
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.bodySecrets = bodySecrets
        self.timeLimit = timeLimit
        self.idleLimit = idleLimit
        self.responseLimit = responseLimit
        self.staysAtOrigin = staysAtOrigin
        self.usesNewConnection = usesNewConnection
        self.keepsMethod = keepsMethod
    }

    public var description: String { "\(method.rawValue) \(url)" }

    // `dump` goes through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }
}
