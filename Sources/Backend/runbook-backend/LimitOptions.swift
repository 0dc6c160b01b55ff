import ArgumentParser
import ReferenceBackend

/// How much the server takes in, and how much it keeps.
struct LimitOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The largest result that is accepted, in bytes or such as \"16 MiB\".", valueName: "size"),
        transform: QuantityOption.bytes)
    var maxResultSize = BackendConfiguration.defaultMaximumResultSize

    @Option(
        help: ArgumentHelp(
            "What large bodies of requests and answers may take in memory together; the rest waits.",
            valueName: "size"), transform: QuantityOption.bytes)
    var maxBodies = ServerLimits.defaultMaximumBodies

    @Option(
        help: ArgumentHelp("How much disk space the runs of one agent may use.", valueName: "size"),
        transform: QuantityOption.bytes)
    var maxAgentStorage = ServerLimits.defaultMaximumAgentStorage

    @Option(help: ArgumentHelp("Maximum number of open connections.", valueName: "count"))
    var maxConnections = ServerLimits.defaultMaximumConnections

    @Option(
        help: ArgumentHelp(
            "How long a new connection may take to send the head of its first request, in seconds or such as \"1 min\".",
            valueName: "time"), transform: QuantityOption.seconds)
    var headTimeout = ServerLimits.defaultHeadTimeout

    @Option(
        help: ArgumentHelp("How long a connection may stay idle between two requests.", valueName: "time"),
        transform: QuantityOption.seconds)
    var idleTimeout = ServerLimits.defaultIdleTimeout

    @Option(
        help: ArgumentHelp(
            "How long a client may keep the server waiting within a request and its answer; a second more for each 16 KiB "
                + "that it sends or takes.", valueName: "time"), transform: QuantityOption.seconds)
    var bodyTimeout = ServerLimits.defaultBodyTimeout

    @Option(
        help: ArgumentHelp(
            "Delete runs that came in longer ago than this, in days or such as \"90 d\". By default they are kept.",
            valueName: "days"), transform: QuantityOption.days)
    var keepRuns: Int?

    @Option(
        name: .customLong("trusted-proxy"),
        help: ArgumentHelp(
            "A proxy whose X-Forwarded-For says where requests come from, as an address or a range such as 10.0.0.0/8; may "
                + "be given several times. By default none is believed.", valueName: "address"),
        transform: { try AddressRange($0) })
    var trustedProxies: [AddressRange] = []

    func validate() throws {
        let sizes = [
            ("--max-result-size", maxResultSize), ("--max-bodies", maxBodies), ("--max-agent-storage", maxAgentStorage),
        ]
        for (option, bytes) in sizes where bytes < 1 { throw ValidationError("\(option) is a number of bytes from 1") }
        if maxConnections < 1 { throw ValidationError("--max-connections is a number from 1") }
        let times = [
            ("--head-timeout", headTimeout), ("--idle-timeout", idleTimeout), ("--body-timeout", bodyTimeout),
        ]
        for (option, seconds) in times where !(0.1...86400).contains(seconds) {
            throw ValidationError("\(option) is a number of seconds from 0.1 to 86400")
        }
        if let keepRuns, !(1...36500).contains(keepRuns) {
            throw ValidationError("--keep-runs is a number of days from 1 to 36500")
        }
    }

    var limits: ServerLimits {
        ServerLimits(
            maximumConnections: maxConnections, headTimeout: headTimeout, idleTimeout: idleTimeout,
            bodyTimeout: bodyTimeout, maximumBodies: maxBodies, maximumAgentStorage: maxAgentStorage)
    }
}
