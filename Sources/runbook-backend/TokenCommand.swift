import ArgumentParser

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "The token of the administration API.", subcommands: [TokenResetCommand.self])
}
