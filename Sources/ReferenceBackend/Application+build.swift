public import Hummingbird
public import Logging

/// The backend as an application of Hummingbird: all routes over a service.
/// - Parameters:
///   - service: What the routes speak for.
///   - onListening: Called once connections are accepted, with the port that was bound.
public func buildApplication(
    _ configuration: BackendConfiguration, service: BackendService, logger: Logger,
    onListening: @escaping @Sendable (ListenAddress) async -> Void = { _ in }
) -> some ApplicationProtocol {
    let router = Router(context: BackendRequestContext.self, options: [.autoGenerateHeadEndpoints])
    router.add(middleware: LogRequestsMiddleware(.debug))
    router.add(middleware: ErrorMiddleware())
    router.get("/healthz") { _, _ in
        try await service.probe()
        return try JSONReply.make(["status": "ok"])
    }
    AgentHarness(
        service: service, authentication: configuration.authentication,
        maximumResultSize: configuration.maximumResultSize
    ).addRoutes(to: router)
    AdministrationHarness(service: service).addRoutes(to: router)
    let listen = configuration.listen
    if configuration.authentication == .device {
        let site = Site(publicOrigin: configuration.login.publicOrigin, listen: listen)
        OAuthHarness(service: service, site: site).addRoutes(to: router)
        DevicePageHarness(service: service, site: site).addRoutes(to: router)
    }
    return Application(
        router: router,
        configuration: ApplicationConfiguration(
            address: .hostname(listen.host, port: listen.port), serverName: "runbook-backend"),
        onServerRunning: { channel in
            await onListening(ListenAddress(host: listen.host, port: channel.localAddress?.port ?? listen.port))
        },
        logger: logger)
}
