import ArgumentParser
import ReferenceBackend

/// How agents log in, with `--auth device`.
struct LoginOptions: ParsableArguments {
    @Option(
        name: .customLong("public-url"),
        help: ArgumentHelp(
            "Where people and agents reach this backend, such as https://backend.example.com; by default what each "
                + "request names as its host.", valueName: "url"),
        transform: { try WebOrigin($0) })
    var publicURL: WebOrigin?

    @Option(
        name: .customLong("client-id"),
        help: ArgumentHelp("Accept only this client; can be repeated. Default: any.", valueName: "id"))
    var clientIDs: [String] = []

    @Option(
        help: ArgumentHelp("How long a code can be approved, in seconds or such as \"10 min\".", valueName: "time"),
        transform: QuantityOption.wholeSeconds)
    var codeLifetime = LoginConfiguration.defaultCodeLifetime

    @Option(
        help: ArgumentHelp("How long an access token is valid.", valueName: "time"),
        transform: QuantityOption.wholeSeconds)
    var accessTokenLifetime = LoginConfiguration.defaultAccessTokenLifetime

    @Option(
        help: ArgumentHelp("How long an agent may be away before it must log in again.", valueName: "time"),
        transform: QuantityOption.wholeSeconds)
    var refreshTokenLifetime = LoginConfiguration.defaultRefreshTokenLifetime

    func validate() throws {
        let lifetimes = [
            ("--code-lifetime", codeLifetime), ("--access-token-lifetime", accessTokenLifetime),
            ("--refresh-token-lifetime", refreshTokenLifetime),
        ]
        for (option, seconds) in lifetimes where !(1...Self.maximumLifetime).contains(seconds) {
            throw ValidationError("\(option) is a number of seconds from 1 to \(Self.maximumLifetime)")
        }
    }

    var configuration: LoginConfiguration {
        LoginConfiguration(
            publicOrigin: publicURL, clientIDs: Set(clientIDs), codeLifetime: codeLifetime,
            accessTokenLifetime: accessTokenLifetime, refreshTokenLifetime: refreshTokenLifetime)
    }

    // Ten years.
    private static let maximumLifetime = 3650 * 86400
}
