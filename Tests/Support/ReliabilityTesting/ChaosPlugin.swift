import AgentModel
import AgentTestSupport

/// The plugins of a chaos run. Each call appends one line to the ledger, syncs it and prints it, and then does what
/// the plugin's name says.
enum ChaosPlugin: String, Sendable, CaseIterable {
    case good
    case loud
    case raises
    case spins
    case sleeps
    case exits
    case crashes
    case wedges
    /// May run again where it was cut off.
    case again
    /// For a second, itself and by a program.
    case talks

    var id: String { "chaos-\(rawValue)" }
    var command: String { "\(id).call" }

    /// What the process's end looks like where a plugin brought it about.
    static let exitStatus: Int32 = 7
    static let endings: Set<SpawnedProcess.Ending> = [.exited(exitStatus), .exited(70), .signaled(11)]

    func script(ledger: String) -> String {
        """
        import ctypes, os, subprocess, time, uuid

        def mark(task):
            marker = uuid.uuid4().hex
            file = os.open(\(JSONValue.string(ledger).text), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, f"{task} {os.getpid()} {marker}\\n".encode())
                os.fsync(file)
            finally:
                os.close(file)
            print(f"marker={marker}")
            return marker

        class Plugin:
            def call(self, task):
                marker = mark(task)
                \(action)
                return marker

        """
    }

    private var action: String {
        switch self {
        case .good: "pass"
        case .loud: #"print("ä" * 50_000)"#
        case .raises: #"raise ValueError(f"{task} raises")"#
        case .spins: "while True: pass"
        case .sleeps: "time.sleep(0.3)"
        case .exits: "os._exit(\(Self.exitStatus))"
        case .crashes: "ctypes.string_at(0)"
        case .wedges: "sum(range(10 ** 12))"
        case .again: "time.sleep(0.1)"
        case .talks:
            "for number in range(20): print(number); subprocess.run(['/bin/echo', 'and on']); time.sleep(0.05)"
        }
    }

    /// How often each is among the one-off tasks.
    static let weights: [(value: ChaosPlugin, weight: Int)] = [
        (.good, 60), (.loud, 6), (.raises, 8), (.spins, 8), (.sleeps, 8), (.exits, 4), (.crashes, 5), (.wedges, 1),
        (.again, 10), (.talks, 15),
    ]
}
