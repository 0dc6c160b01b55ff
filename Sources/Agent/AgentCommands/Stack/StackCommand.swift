import Agent
import ArgumentParser
import CommandOutput

struct StackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stack", abstract: "Show where runs that are under way are in their code.",
        discussion: """
            It asks the running agent, also while a plugin holds its interpreter. The runs go on undisturbed.

            EXAMPLE
              runbook-agent stack
              runbook-agent stack 6f1e2d3a
            """)

    @Argument(
        help: ArgumentHelp(
            "The run's id, the end of it, or the id of its task; all that are under way if not given.",
            valueName: "run id"))
    var id: String?

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let client = ControlClient(stateDirectory: try configurationOptions.load().stateDirectory)
        let (stacks, leftOut) = try client.stacks(of: id)
        if output.json {
            for stack in stacks { print(try ListRenderer.json(stack)) }
        }
        if leftOut > 0 { Terminal.writeError("\(leftOut) younger runs are left out; name one to see it") }
        if output.json { return }
        if stacks.isEmpty { return Terminal.writeError("no run is under way") }
        for (index, stack) in stacks.enumerated() {
            if index > 0 { print() }
            print("run \(stack.runID) of the task \(Terminal.sanitized(stack.taskID)), since \(stack.startedAt)")
            let text = stack.pythonStack ?? "it can't be told where it is in its code\n"
            print(Terminal.sanitized(text), terminator: text.hasSuffix("\n") ? "" : "\n")
        }
    }
}
