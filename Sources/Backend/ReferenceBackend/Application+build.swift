public import Hummingbird
import HummingbirdCore
public import Logging

/// The backend as an application of Hummingbird: all routes over a service.
/// - Parameters:
///   - service: What the routes speak for.
///   - onListening: Called once connections are accepted, with the port that was bound.
public func buildApplication(
    _ configuration: BackendConfiguration, service: BackendService, logger: Logger,
    onListening: @escaping @Sendable (ListenAddress) async -> Void = { _ in }
) -> some ApplicationProtocol {
    let limits = configuration.limits
    let listen = configuration.listen
    let table = ConnectionTable(maximum: limits.maximumConnections)
    let maximumBody = max(configuration.maximumResultSize, AdministrationRoutes.bodyLimit)
    return Application(
        router: buildRouter(configuration, service: service),
        server: .http1(
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [ConnectionGuard(limits: limits, table: table, maximumBody: maximumBody)])),
        configuration: ApplicationConfiguration(
            address: .hostname(listen.host, port: listen.port), serverName: "runbook-backend",
            // Only what the connections at work leave: the table makes room among the others.
            availableConnectionsDelegate: .maximum(
                limits.maximumConnections + ServerLimits.reservedConnections, logger: logger)),
        onServerRunning: { channel in
            await onListening(ListenAddress(host: listen.host, port: channel.localAddress?.port ?? listen.port))
        },
        logger: logger)
}

private func buildRouter(
    _ configuration: BackendConfiguration, service: BackendService
) -> Router<BackendRequestContext> {
    let router = Router(context: BackendRequestContext.self, options: [.autoGenerateHeadEndpoints])
    let budget = BodyBudget(
        capacity: configuration.limits.maximumBodies, patience: .seconds(configuration.limits.bodyPatience))
    let site = Site(publicOrigin: configuration.login.publicOrigin, listen: configuration.listen)
    router.add(middleware: LogRequestsMiddleware(.debug))
    router.add(middleware: ClientAddressMiddleware(trustedProxies: configuration.trustedProxies))
    router.add(middleware: ErrorMiddleware())
    router.add(middleware: LargeAnswerMiddleware(budget: budget))
    router.get("/healthz") { _, _ in
        try await service.probe()
        return try JSONReply.make(["status": "ok"])
    }
    AgentRoutes(
        service: service, authentication: configuration.authentication,
        maximumResultSize: configuration.maximumResultSize,
        maximumWaits: configuration.limits.maximumConnections * 3 / 4, budget: budget, site: site
    ).addRoutes(to: router)
    AdministrationRoutes(service: service, budget: budget).addRoutes(to: router)
    if configuration.authentication == .device {
        OAuthRoutes(service: service, site: site).addRoutes(to: router)
        DevicePageRoutes(service: service, site: site).addRoutes(to: router)
    }
    return router
}
