import AgentModel
import ArgumentParser
import CommandOutput
import Diagnostics
import Threads

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run a command on a host, or on many, and show its result.",
        discussion: """
            HOST is an agent's name or id. COMMAND may leave the plugin's id out where only one plugin of the host has a
            command of that name. A value is read as JSON where it is JSON (5, true, [1, 2]) and as text otherwise.

            What the command prints is shown while it comes, then its result. Ctrl-C asks whether to cancel the run; a
            second one leaves it running.

            On many hosts there is a line for each as it ends, and a summary.

            EXIT CODES
              0 the run succeeded, 1 it failed, 3 there was no result in time: the task stays, and its id is shown

            EXAMPLES
              runbook run kitchen disk.usage path=/var
              runbook run --team attic usage --arguments '{"path": "/var"}'
            """)

    @Argument(
        help:
            "The host, unless --team, --all or --hosts says which; then the command; then name=value for each argument."
    )
    var words: [String] = []

    @Option(name: .long, help: ArgumentHelp("All arguments as a JSON object.", valueName: "json"))
    var arguments: String?

    @Option(name: .long, help: "On all hosts of this team.")
    var team: String?

    @Flag(name: .long, help: "On all hosts.")
    var all = false

    @Option(name: .long, help: ArgumentHelp("On these hosts.", valueName: "a,b"))
    var hosts: String?

    @Option(
        name: .long, help: ArgumentHelp("Once more on the hosts where an earlier run on many failed.", valueName: "id"))
    var retryFailed: String?

    @Flag(
        name: .long, help: "On many hosts, show what the commands print while it comes, the host in front of each line."
    )
    var follow = false

    @Option(name: .long, help: "How many seconds to wait for the result.")
    var timeout: Double = 600

    @Flag(name: .long, help: "Print the task's id and don't wait.")
    var detach = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        let choices = [team != nil, all, hosts != nil, retryFailed != nil].filter { $0 }.count
        guard choices <= 1 else { throw ValidationError("use one of --team, --all, --hosts and --retry-failed") }
        guard timeout > 0, timeout <= 86_400 else {
            throw ValidationError("--timeout is a number of seconds above 0 and up to 86400")
        }
        if let hosts, hosts.split(separator: ",").isEmpty { throw ValidationError("--hosts names no host") }
        if choices == 1, retryFailed == nil, words.count > 1, !words[1].contains("=") {
            throw ValidationError("with --team, --all or --hosts the command comes first, without a host")
        }
        let needed = retryFailed != nil ? 0 : choices == 0 ? 2 : 1
        guard words.count >= needed else {
            throw ValidationError(needed == 2 ? "name a host and a command" : "name a command")
        }
        if retryFailed != nil, !words.isEmpty || arguments != nil {
            throw ValidationError("--retry-failed runs the command of the earlier run; leave it out")
        }
    }

    func run() async throws {
        let client = try connection.connect()
        if let retryFailed {
            let batch = try Batch.load(retryFailed)
            return try await run(batch.command, batch.arguments, on: batch.hosts, client)
        }
        let isOnMany = team != nil || all || hosts != nil
        let command = words[isOnMany ? 0 : 1]
        let arguments = try CommandArguments.text(of: Array(words.dropFirst(isOnMany ? 1 : 2)), json: arguments)
        if isOnMany {
            try await run(command, arguments, on: try await chosenHosts(client), client)
        } else {
            try await run(command, arguments, onHost: words[0], client)
        }
    }

    // MARK: One host

    private func run(
        _ command: String, _ arguments: String, onHost host: String, _ client: AdministrationClient
    ) async throws {
        let task = try await RunFollower.create(
            command, arguments, agent: host, isWatched: !detach && !output.json, client)
        if detach {
            print(output.json ? try ListRenderer.json(["task_id": task.id]) : task.id)
            return
        }
        let shown = OutputPrinter(isSilent: output.json)
        let interruption = Interruption("the run") { [user = ConnectionOptions.user] in
            try await client.post("tasks/\(AdministrationClient.segment(task.id))/cancel", ["by": .string(user)])
        } leave: {
            Self.sayThatItStays(task.id)
        }
        let hint = Task {
            // Mostly it is over by then.
            try await Task.sleep(for: Self.patience)
            try await sayWhatItWaitsFor(task, client)
        }
        defer { withExtendedLifetime(interruption) { hint.cancel() } }
        let ended = try await RunFollower(client: client, taskID: task.id).follow(atMost: .seconds(timeout)) {
            shown.show($0)
        }
        guard let run = ended.run else {
            Self.sayThatItStays(task.id)
            throw ExitCode.noResult
        }
        if output.json {
            print(try ListRenderer.json(ended.rawRun ?? .null))
        } else {
            shown.showEnd(of: run)
        }
        if !run.isSucceeded { throw ExitCode.failure }
    }

    private static let patience = Duration.seconds(5)

    private static func sayThatItStays(_ taskID: String) {
        Screen.writeError(
            "no result yet; the task \(taskID) stays. \"runbook logs \(taskID) --follow\" waits for it, "
                + "\"runbook cancel \(taskID)\" cancels it")
    }

    /// Of a run that hasn't begun: whether its host is there at all.
    private func sayWhatItWaitsFor(_ task: TaskRow, _ client: AdministrationClient) async throws {
        let segment = AdministrationClient.segment
        let view: RunViewDocument = try client.value(try await client.get("tasks/\(segment(task.id))/run"))
        guard view.state == "waiting" else { return }
        let agent: AgentRow = try client.value(try await client.get("agents/\(segment(task.agentID))"))
        Screen.writeError(
            "waiting for \(agent.displayName), which was last heard of at \(agent.lastSeenAt ?? "no time"); it may be "
                + "away, or busy with other runs")
    }

    // MARK: Many hosts

    private func chosenHosts(_ client: AdministrationClient) async throws -> [AgentRow] {
        let agents = try await client.all("agents", as: AgentRow.self)
        if let hosts {
            var seen: Set<String> = []
            return try hosts.split(separator: ",").map { try HostChoice.find(String($0), among: agents) }
                .filter { seen.insert($0.id).inserted }
        }
        let chosen = team.map { team in agents.filter { $0.teamID == team } } ?? agents
        guard !chosen.isEmpty else { throw ClientError.noHosts(team.map { "in the team \(quoted($0))" } ?? "at all") }
        return chosen
    }

    private func run(
        _ command: String, _ arguments: String, on hosts: [AgentRow], _ client: AdministrationClient
    ) async throws {
        let printer = ManyPrinter(isJSON: output.json, follows: follow && !output.json)
        let open = BlockingLock<Set<String>>([])
        let interruption = Interruption("the runs that are under way") { [user = ConnectionOptions.user] in
            for id in open.withLock({ $0 }) {
                _ = try? await client.post(
                    "tasks/\(AdministrationClient.segment(id))/cancel", ["by": .string(user)])
            }
        } leave: {
            Screen.writeError("these tasks stay: \(open.withLock { $0 }.sorted().joined(separator: " "))")
        }
        defer { withExtendedLifetime(interruption) {} }
        let outcomes = await withTaskGroup(of: (AgentRow, ManyPrinter.Outcome).self) { group in
            var waiting = hosts[...]
            var outcomes: [(AgentRow, ManyPrinter.Outcome)] = []
            func next() {
                guard let host = waiting.popFirst() else { return }
                group.addTask { (host, await self.outcome(of: command, arguments, on: host, printer, open, client)) }
            }
            for _ in 0..<Self.width { next() }
            while let outcome = await group.next() {
                printer.show(outcome.1, of: outcome.0)
                outcomes.append(outcome)
                next()
            }
            return outcomes
        }
        let failed = outcomes.filter { $0.1.kind == .failed }.map(\.0)
        let late = outcomes.filter { $0.1.kind == .late }.map(\.0)
        printer.showSummary(outcomes.map(\.1))
        // The tasks of those without a result stay, and run when their hosts are back.
        if !failed.isEmpty {
            let id = try Batch(command: command, arguments: arguments, hosts: failed).save()
            Screen.writeError("runbook run --retry-failed \(id) runs it again where it failed")
        }
        if !failed.isEmpty { throw ExitCode.failure }
        if !late.isEmpty { throw ExitCode.noResult }
    }

    /// How many hosts are waited for at the same time.
    private static let width = 200

    private func outcome(
        of command: String, _ arguments: String, on host: AgentRow, _ printer: ManyPrinter,
        _ open: BlockingLock<Set<String>>, _ client: AdministrationClient
    ) async -> ManyPrinter.Outcome {
        let task: TaskRow
        do {
            task = try await RunFollower.create(
                command, arguments, agent: host.id, isWatched: follow && !detach, client)
        } catch {
            let coded = error as? any CodedError
            return .notCreated(code: coded?.code ?? "client.not_a_backend", message: coded?.message ?? "\(error)")
        }
        if detach { return .detached(task.id) }
        _ = open.withLock { $0.insert(task.id) }
        defer { _ = open.withLock { $0.remove(task.id) } }
        // The task is there whatever becomes of following it.
        let ended = try? await RunFollower(client: client, taskID: task.id).follow(atMost: .seconds(timeout)) {
            printer.show($0, of: host)
        }
        return ended?.run.map { .ended($0, ended?.rawRun ?? .null) } ?? .late(task.id)
    }
}
