import ArgumentParser

/// Which host a command is about.
struct AgentArgument: ParsableArguments {
    @Argument(help: "The host's name or id.")
    private var agent: String

    @OptionGroup private var connection: ConnectionOptions

    /// - Throws: `ClientError.unknownHost`, `.ambiguousHost`.
    func find() async throws -> (client: AdministrationClient, agent: Document<AgentRow>) {
        let client = try connection.connect()
        return (client, try await client.agent(agent))
    }
}

/// Which task a command is about.
struct TaskArgument: ParsableArguments {
    @Argument(help: "The task's id.")
    private var task: String

    @OptionGroup private var connection: ConnectionOptions

    func find() throws -> (client: AdministrationClient, path: String) {
        (try connection.connect(), "tasks/\(AdministrationClient.segment(task))")
    }
}

/// A plugin, and the hosts that are to have it or not.
struct AssignmentArguments: ParsableArguments {
    @Argument(help: "The plugin's id.")
    private var plugin: String

    @Argument(help: "The names or ids of hosts.")
    private var agents: [String]

    @OptionGroup private var connection: ConnectionOptions

    /// Does something with the place of each assignment.
    func forEach(_ body: (AdministrationClient, _ path: String) async throws -> Void) async throws {
        let client = try connection.connect()
        for agent in agents {
            let id = AdministrationClient.segment(try await client.agent(agent).content.id)
            try await body(client, "agents/\(id)/plugins/\(AdministrationClient.segment(plugin))")
        }
    }
}
