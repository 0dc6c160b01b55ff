import Glibc

/// A number that the sandbox keeps a plugin below. Each is one row here: the field of a plugin's document, the setting of
/// the host, what is less than what, and what the child is started with follow from it.
public struct SandboxLimit: Hashable, Sendable {
    /// Of the field in a plugin's document and of the host's setting.
    public let name: String
    /// Whether it is an amount of bytes, and not a count of things.
    public let isBytes: Bool
    /// With less nothing runs.
    public let least: Int
    public let most: Int
    /// Where neither the host nor the plugin says anything.
    public let standard: Int
    /// The resource of setrlimit(2) that enforces it; nil where the sandbox has a mechanism of its own for it.
    public let resource: Int32?

    /// Of each of the plugin's processes.
    public static let memory = SandboxLimit(
        name: "memory", isBytes: true, least: 32 << 20, most: 1 << 40, standard: 256 << 20, resource: nil)
    /// In the scratch folder, which is in memory.
    public static let scratch = SandboxLimit(
        name: "scratch", isBytes: true, least: 1 << 20, most: 1 << 40, standard: 64 << 20, resource: nil)
    /// Threads and processes together.
    public static let processes = SandboxLimit(
        name: "processes", isBytes: false, least: 8, most: 100_000, standard: 64,
        resource: Int32(__RLIMIT_NPROC.rawValue))

    public static let all = [memory, scratch, processes]

    public init?(name: String) {
        guard let limit = Self.all.first(where: { $0.name == name }) else { return nil }
        self = limit
    }

    private init(name: String, isBytes: Bool, least: Int, most: Int, standard: Int, resource: Int32?) {
        self.name = name
        self.isBytes = isBytes
        self.least = least
        self.most = most
        self.standard = standard
        self.resource = resource
    }
}
