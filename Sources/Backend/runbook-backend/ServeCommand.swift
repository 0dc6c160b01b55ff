import AgentModel
import ArgumentParser
import Diagnostics
import Foundation
import Logging
import ProcessLogging
import ReferenceBackend

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the server.",
        discussion: """
            The first start prints the administration token, which is stored as a hash and not shown again. SIGINT (Ctrl-C)
            and SIGTERM stop the server once it has answered the requests under way.

            EXAMPLES
              runbook-backend serve --init --data ./backend-data
              runbook-backend serve --listen 127.0.0.1:8787 --data ./backend-data --public-url https://backend.example.com
              runbook-backend serve --init --auth none --data ./backend-data --seed Examples/quickstart
            """)

    @Option(
        help: ArgumentHelp("Where to listen; port 0 lets the system choose.", valueName: "host:port"),
        transform: { try ListenAddress($0) })
    var listen = ListenAddress(host: "127.0.0.1", port: 8787)

    @OptionGroup var storage: StorageOptions

    @Flag(
        name: .customLong("init"),
        help: "Create a new, empty database in the --data folder. Without this flag the database must exist.")
    var makesDatabase = false

    @Option(
        help: ArgumentHelp(
            "Import agent.json, tasks.json and plugin-ID.json from this folder at the start.", valueName: "folder"))
    var seed: String?

    @Option(
        help: """
            How agents are known. device: by a login, which an administrator approves at /device or with \
            "runbook-backend device approve". none: by the address of their connection.
            """)
    var auth = AgentAuthentication.device

    @OptionGroup var login: LoginOptions

    @OptionGroup var limit: LimitOptions

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel = Logger.Level.info

    func run() async throws {
        LineLogHandler.bootstrap(
            format: .text, level: logLevel, environment: ProcessInfo.processInfo.environment)
        let logger = Logger(label: "runbook-backend")
        if auth == .device, !listen.isLoopback, login.publicURL?.isSecure != true {
            logger.warning(
                "tokens cross the network unencrypted; put a proxy with TLS in front and name it with --public-url",
                metadata: ["listen": "\(listen)"])
        }
        if auth == .none, !listen.isLoopback {
            logger.warning(
                "agents are identified by address only: anyone who can reach this port is treated as an agent",
                metadata: ["listen": "\(listen)"])
        }
        var limits = limit.limits
        let reserve = ServerLimits.reservedConnections
        limits.maximumConnections = max(
            1, DescriptorLimit.makeRoom(forConnections: limits.maximumConnections + reserve) - reserve)
        if limits.maximumConnections < limit.maxConnections {
            logger.warning(
                """
                the process may open too few files (RLIMIT_NOFILE) for --max-connections; it takes \
                \(limits.maximumConnections) connections
                """)
        }
        let server = try await BackendServer(
            BackendConfiguration(
                listen: listen, dataFolder: storage.folder, creation: makesDatabase ? .onlyNew : .never,
                seedFolder: seed.map { URL(filePath: $0) },
                authentication: auth, login: login.configuration, maximumResultSize: limit.maxResultSize,
                limits: limits, runRetention: limit.keepRuns, trustedProxies: limit.trustedProxies),
            logger: logger)
        if let token = server.newAdministrationToken {
            StandardOutput.write("administration token, shown this once: \(token)")
        }
        let runs = server.service.storedRuns()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [logger] in
                for await run in runs { Self.log(run, logger) }
            }
            try await server.run { address in
                StandardOutput.write("runbook-backend listens on \(address.url)")
            }
            group.cancelAll()
        }
        StandardOutput.write("runbook-backend stopped")
    }

    private static func log(_ run: StoredRun, _ logger: Logger) {
        logger.info(
            """
            result stored: \(quoted(run.command)) \(run.result.status?.rawValue ?? "with no status"), data \
            \(quoted(run.result.data ?? "null", limit: 100))
            """, metadata: ["task_id": "\(quoted(run.taskID))"])
    }
}
