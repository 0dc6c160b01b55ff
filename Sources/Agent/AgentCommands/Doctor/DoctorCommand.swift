import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import Foundation
import PluginExecution
import Sandbox
import SandboxEscapes
import Threads

/// Says what of the sandbox works on this host, and tries to break out of it.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check what this host offers for sandboxed plugins.",
        discussion: """
            Lists each layer of the sandbox, whether it works here and what to do if it doesn't, and starts a real
            child with each kind of network policy. Exits 1 if plugins can't be confined completely.

            With --escape it tries to break out of such a child, and to harm the agent from there, one line per attempt.
            Each attempt is also made without the sandbox, and an attempt on the agent in its legitimate form: "stopped"
            means that it succeeded there and failed in the sandbox, "not shown" that it succeeds neither way on this
            host or for this user. Exits 1 if any attempt succeeds.

            It uses 'mode' and 'user' of the configuration's section [sandbox].

            EXAMPLE
              runbook-agent doctor
              runbook-agent doctor --escape
            """)

    @Flag(name: .long, help: "Try to break out of the sandbox.")
    var escape = false

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let host = try configurationOptions.load().sandboxHost
        if escape {
            try await tryToEscape(from: host)
        } else {
            try await examine(host)
        }
    }

    // MARK: Layers

    private func examine(_ host: SandboxHost) async throws {
        var isWhole = true
        let policies = try await Self.policies(host)
        let layers = SandboxLayer.probe() + policies
        if policies.contains(where: { !$0.works }) { isWhole = false }
        if output.json {
            for layer in layers { print(try ListRenderer.json(LayerRow(layer))) }
        } else {
            try output.renderer.print(layers.map(LayerRow.init))
            // Several have the same.
            var said: Set<String> = []
            for advice in layers.compactMap(\.advice) where said.insert(advice).inserted {
                let names = layers.filter { $0.advice == advice }.map(\.name)
                print("\n\(names.joined(separator: "; ")): \(advice)")
            }
            print("\n" + (isWhole ? Self.whole : Self.partial))
        }
        if !isWhole { throw ExitCode.failure }
    }

    private static let whole = "Sandboxed plugins are confined as a whole on this host."
    private static let partial =
        "Sandboxed plugins can't be confined as a whole on this host: they are refused, unless 'mode = prefer' is set "
        + "in [sandbox]."

    /// A child with each kind of network policy, started as for a plugin.
    private static func policies(_ host: SandboxHost) async throws -> [SandboxLayer] {
        let executor = try SandboxExecutor(host: host)
        var layers: [SandboxLayer] = []
        for network in [SandboxNetwork.none, .ports([443...443], resolvesNames: true), .full] {
            var policy = SandboxPolicy()
            policy.network = network
            let id = try PluginID("doctor")
            let start = ContinuousClock.now
            var layer = SandboxLayer(
                name: "child, network = \(network)", works: true, purpose: "a plugin runs, confined as its policy says")
            do throws(PluginExecutionError) {
                try await executor.load(
                    PluginImage(
                        id: id, script: Array("class Plugin:\n    def run(self): return 1\n".utf8), path: "<doctor>",
                        timeLimit: .seconds(60), sandbox: policy))
                let time = start.duration(to: .now).seconds * 1000
                layer.version = "\(time.formatted(.number.precision(.fractionLength(0)).grouping(.never))) ms"
                let outcome = await executor.execute(Invocation(pluginID: id, function: "run"))
                if outcome.isolation != .sandbox {
                    (layer.works, layer.advice) = (false, outcome.error?.message ?? outcome.isolation.text)
                }
            } catch {
                (layer.works, layer.advice) = (false, error.message)
            }
            layers.append(layer)
        }
        await executor.shutDown()
        return layers
    }

    private struct LayerRow: Listable {
        let layer: String
        let works: Bool
        let version: String?
        let purpose: String
        let advice: String?

        init(_ layer: SandboxLayer) {
            (self.layer, works, version) = (layer.name, layer.works, layer.version)
            (purpose, advice) = (layer.purpose, layer.advice)
        }

        static let header = ["LAYER", "WORKS", "VERSION", "KEEPS OUT OR GIVES"]
        var cells: [String] { [layer, works ? "yes" : "no", version ?? "", purpose] }
    }

    // MARK: Escapes

    private func tryToEscape(from host: SandboxHost) async throws {
        let results = try await EscapeSuite(host: host).run { result in
            print((try? line(result)) ?? result.name)
            fflush(nil)
        }
        let counts = Dictionary(grouping: results, by: \.verdict).mapValues(\.count)
        let (through, broken) = (counts[.through, default: 0], counts[.broken, default: 0])
        if !output.json {
            print(
                "\n\(results.count) attempts: \(counts[.stopped, default: 0]) stopped, \(through) got through, "
                    + "\(counts[.notShown, default: 0]) not shown here, \(broken) could not be made")
        }
        if through > 0 || broken > 0 { throw ExitCode.failure }
    }

    private func line(_ result: EscapeResult) throws -> String {
        guard !output.json else { return try ListRenderer.json(result) }
        let verdict =
            switch result.verdict {
            case .stopped: "stopped  "
            case .through: "THROUGH  "
            case .notShown: "not shown"
            case .broken: "BROKEN   "
            }
        return Terminal.sanitized("\(verdict)  \(result.group): \(result.title): \(result.detail)")
            .replacing("\n", with: " ")
    }
}
