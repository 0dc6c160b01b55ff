import AgentTestSupport
import Foundation
import Testing

/// Every command in README and docs is run, as it stands there.
///
/// The blocks of a page are run in their order, in one shell and one folder, with the built programs on the path:
///
/// - ` ```sh ` is run, and must succeed;
/// - ` ```sh background ` is a program that goes on until the end of the page: it runs beside what follows;
/// - ` ```sh not-run REASON ` can't be run here: it builds, or installs for the whole host;
/// - ` ```python NAME `, and other languages with a name, is a file that the commands use;
/// - `<!-- run: COMMAND -->` is run, and not shown: what a person does meanwhile, such as approving a code;
/// - ` ```text ` and languages without a name are shown.
@Suite struct DocumentationCommandsTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        .standardizedFileURL

    /// The pages, relative to the package.
    static let pages: [String] = {
        let docs = (try? FileManager.default.contentsOfDirectory(atPath: root.appending(path: "docs").path)) ?? []
        return ["README.md"] + docs.filter { $0.hasSuffix(".md") }.sorted().map { "docs/" + $0 }
    }()

    private struct Block {
        /// The first word behind the backquotes, and the rest of that line.
        var language: String
        var note: String
        var lines: [String]

        var text: String { lines.joined(separator: "\n") }
    }

    private static func text(of page: String) throws -> String {
        try String(contentsOf: root.appending(path: page), encoding: .utf8)
    }

    private static func blocks(of page: String) throws -> [Block] {
        var blocks: [Block] = []
        var open: Block?
        for line in try text(of: page).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```"), let block = open {
                blocks.append(block)
                open = nil
            } else if line.hasPrefix("```") {
                let words = line.dropFirst(3).split(separator: " ", maxSplits: 1)
                open = Block(
                    language: words.first.map(String.init) ?? "", note: words.count > 1 ? String(words[1]) : "",
                    lines: [])
            } else if open != nil {
                open?.lines.append(String(line))
            } else if line.hasPrefix("<!-- run: "), line.hasSuffix(" -->") {
                blocks.append(
                    Block(language: "sh", note: "hidden", lines: [String(line.dropFirst(10).dropLast(4))]))
            }
        }
        return blocks
    }

    /// The page as one script.
    private static func script(of blocks: [Block]) -> String {
        var lines = [
            // With process groups (-m), so that what is in the background is ended with its children.
            "set -euo pipefail", "set -m",
            "trap 'for job in $(jobs -p); do kill -- -$job 2>/dev/null || true; done' EXIT",
            // On a port that is free.
            #"""
            runbook-backend() {
                if [ "$1" = serve ]; then set -- "$@" --listen 127.0.0.1:8787; fi
                command runbook-backend "$@"
            }
            """#,
            // `status` exits with 1 where something is wrong, as that no agent runs on these pages.
            #"runbook-agent() { command runbook-agent "$@" || { local code=$?; [ "$1" = status ] && [ $code = 1 ]; }; }"#,
        ]
        for (number, block) in blocks.enumerated() {
            switch block.language {
            case "sh" where block.note.hasPrefix("background"):
                // Until it says that it listens, or that there is a code to approve.
                lines += [
                    "{ \(block.text)", "} >background-\(number).log 2>&1 &",
                    "for i in $(seq 600); do grep -qE 'listens on|enter this code|agent started' "
                        + "background-\(number).log && break; sleep 0.1; done",
                ]
            case "sh" where !block.note.hasPrefix("not-run"):
                lines += ["echo '+ block \(number)' >&2", block.text]
            case "sh", "text": break
            case _ where !block.note.isEmpty:
                lines += ["cat >'\(block.note)' <<'END-OF-THIS-FILE'", block.text, "END-OF-THIS-FILE"]
            default: break
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    @Test(arguments: pages)
    func everyCommandWorks(_ page: String) async throws {
        let blocks = try Self.blocks(of: page)
        guard blocks.contains(where: { $0.language == "sh" }) else { return }
        let folder = try TemporaryFolder()
        let script = Self.script(of: blocks).replacing("8787", with: "\(try ReservedPort.take())")
        let file = folder.path("page.sh")
        try script.write(toFile: file, atomically: true, encoding: .utf8)
        let programs = URL(filePath: AgentProcess.executable).deletingLastPathComponent().path
        let output = try await AgentProcess.run(
            [],
            environment: [
                "PATH": "\(programs):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": folder.path,
            ],
            directory: folder.path, command: ["/bin/bash", file])
        #expect(output.status == 0, "\(page):\n\(output.stdout)\n\(output.stderr)\n\(script)")
    }

    @Test(arguments: pages)
    func everyBlockSaysWhatItIs(_ page: String) throws {
        for block in try Self.blocks(of: page) {
            #expect(!block.language.isEmpty, "\(page): a block without a language: \(block.text)")
            // What looks like a command to type is one.
            let looksLikeCommand = block.lines.contains { $0.hasPrefix("$ ") || $0.hasPrefix("runbook-agent ") }
            #expect(block.language == "sh" || !looksLikeCommand, "\(page): \(block.text)")
        }
    }

    @Test func fewCommandsAreNotRunAndThoseAreOfTheMakefile() throws {
        let makefile = try Self.text(of: "Makefile")
        let skipped = try Self.pages.flatMap(Self.blocks).filter { $0.language == "sh" && $0.note.hasPrefix("not-run") }
        #expect(skipped.count <= 3)
        for block in skipped {
            #expect(block.note.count > "not-run because".count, "no reason: \(block.text)")
            for line in block.lines where line.hasPrefix("make ") {
                let target = line.dropFirst(5).prefix { $0.isLetter || $0 == "-" }
                #expect(makefile.contains("\n\(target): "), "\(line)")
            }
        }
    }

    /// Commands within sentences and tables, such as `runbook-agent plugin list`: that they and their options exist.
    @Test(arguments: pages)
    func everyCommandInASentenceExists(_ page: String) async throws {
        var commands: Set<String> = []
        for match in try Self.text(of: page).matches(of: /`(runbook-(?:agent|backend) [^`]+)`/) {
            commands.insert(String(match.1).replacing("\\|", with: "|"))
        }
        for command in commands.sorted() {
            let words = command.split(separator: " ").map(String.init)
            var path: [String] = []
            for word in words.dropFirst() {
                let names = word.split(separator: "|").map(String.init)
                guard let name = names.first, name.allSatisfy({ $0.isLowercase || $0 == "-" }), !name.hasPrefix("-")
                else {
                    break
                }
                path.append(name)
            }
            let options = command.matches(of: /--[a-z][a-z-]+/).map { String($0.output) }
            // A word that is no subcommand is an argument: help is shown all the same.
            let program = AgentProcess.built(words[0])
            let output = try await AgentProcess.run([], command: [program] + path + ["--help"])
            #expect(output.status == 0, "\(page): \(command): \(output.stderr)")
            for option in options where option != "--help" {
                #expect(output.stdout.contains(option), "\(page): \(command) has no \(option)")
            }
        }
    }
}
