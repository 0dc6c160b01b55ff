/// The envelope around every response body: `{"data": …}`.
public struct Envelope<Content> {
    public var data: Content

    public init(data: Content) { self.data = data }
}

extension Envelope: Decodable where Content: Decodable {}
extension Envelope: Encodable where Content: Encodable {}
extension Envelope: Sendable where Content: Sendable {}

/// `GET /api/agent`: who this agent is and which plugins it must have.
public struct AgentDocument: Codable, Equatable, Sendable {
    public var id: String
    /// Null from a backend that has just met the agent.
    public var name: String?
    public var teamID: String?
    /// As the backend wrote them: each is checked on its own, so that a bad one doesn't take the others along.
    public var plugins: [String]
    /// Tells one backend from another (part 2 of the contract): made with its database, kept by copies of it.
    public var backendID: String?
    /// The contract wants the key `team_id` to be there; where it was null or missing this is true.
    public var lacksTeam: Bool { teamID == nil }

    public init(id: String, name: String?, teamID: String?, plugins: [String], backendID: String? = nil) {
        self.id = id
        self.name = name
        self.teamID = teamID
        self.plugins = plugins
        self.backendID = backendID
    }

    /// What is read of the answer of `GET /api/agent`, up to so many plugins.
    public static func selection(plugins limit: Int) -> JSONSelection {
        .object([
            "data": .object([
                "id": .scalar, "name": .scalar, "team_id": .scalar, "backend_id": .scalar,
                "plugins": .list(.scalar, limit: limit),
            ])
        ])
    }

    private enum CodingKeys: String, CodingKey {
        case id, name, plugins
        case teamID = "team_id"
        case backendID = "backend_id"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decode(String.self, forKey: .id)
        name = try container.decodeIfPresent(String.self, forKey: .name)
        teamID = try container.decodeIfPresent(String.self, forKey: .teamID)
        backendID = try container.decodeIfPresent(String.self, forKey: .backendID)
        // What isn't a text is kept as its JSON, which no plugin id looks like: it is refused by itself.
        plugins = (try container.decodeIfPresent([JSONValue].self, forKey: .plugins) ?? []).map { value in
            if case .string(let text) = value { text } else { value.text + " (not a text)" }
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        // Null and not left out: the contract says that the keys are there.
        try container.encode(name, forKey: .name)
        try container.encode(teamID, forKey: .teamID)
        try container.encode(plugins, forKey: .plugins)
        try container.encodeIfPresent(backendID, forKey: .backendID)
    }
}
