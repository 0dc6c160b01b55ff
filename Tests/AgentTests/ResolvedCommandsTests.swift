import AgentModel
import PluginStore
import Testing

@testable import Agent

@Suite struct ResolvedCommandsTests {
    private let question = PluginCatalog.Question(command: "p.run", awaitsUpdate: true)

    @Test func whatWasResolvedHoldsForAsLongAsTheCatalogIsTheSame() throws {
        var commands = ResolvedCommands()
        commands.keep(try command("p", at: 1), for: question)
        #expect(commands.find(question, at: 1)?.plugin.id.rawValue == "p")
        #expect(commands.find(PluginCatalog.Question(command: "p.run", awaitsUpdate: false), at: 1) == nil)
        #expect(commands.find(question, at: 2) == nil)
    }

    @Test func anAnswerThatComesLateReplacesNoLaterOne() throws {
        var commands = ResolvedCommands()
        commands.keep(try command("new", at: 2), for: question)
        commands.keep(try command("old", at: 1), for: question)
        #expect(commands.find(question, at: 1) == nil)
        #expect(commands.find(question, at: 2)?.plugin.id.rawValue == "new")
    }

    /// Whatever may change what the catalog answers.
    @Test func eachChangeOfTheCatalogIsAnotherVersion() async throws {
        let catalog = PluginCatalog()
        let id = try PluginID("p")
        var versions = [catalog.version]
        await catalog.remember([id: ["p.run"]])
        versions.append(catalog.version)
        await catalog.expect([id], outdated: [id])
        versions.append(catalog.version)
        await catalog.passOver([id])
        versions.append(catalog.version)
        await catalog.set(.unavailable(reason: "none"), for: id)
        versions.append(catalog.version)
        _ = await catalog.isUpToDate(id)
        versions.append(catalog.version)
        await catalog.remove(id)
        versions.append(catalog.version)
        #expect(Set(versions).count == versions.count)
        _ = await catalog.resolve("p.run")
        #expect(catalog.version == versions.last)
    }

    private func command(_ plugin: String, at version: Int) throws -> ResolvedCommand {
        ResolvedCommand(plugin: .example(try PluginID(plugin)), function: "run", version: version)
    }
}
