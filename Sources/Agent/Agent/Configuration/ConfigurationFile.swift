import AgentModel
import Foundation

/// Finds and reads the configuration file.
enum ConfigurationFile {
    /// Names the file where the command line doesn't.
    static let environmentName = "RUNBOOK_AGENT_CONFIG"
    /// Of a host whose agent is a service.
    static let systemFile = "/etc/runbook-agent/config.ini"
    private static let sizeLimit = 1 << 20

    /// The absolute path of the file to read; nil for none.
    static func path(
        named name: String?, environment: [String: String], default defaultFile: String?,
        system systemFile: String? = systemFile
    ) -> String? {
        if let name = name ?? environment[environmentName].flatMap({ $0.isEmpty ? nil : $0 }) {
            return URL(fileURLWithPath: name).standardizedFileURL.path
        }
        guard let defaultFile else { return nil }
        let path = URL(fileURLWithPath: defaultFile).standardizedFileURL.path
        return [path, systemFile].compactMap(\.self).first { FileManager.default.fileExists(atPath: $0) }
    }

    static func text(of path: String) throws(ConfigurationError) -> String {
        func failure(_ problem: String) -> ConfigurationError {
            ConfigurationError(.unreadableFile(path: path, problem: problem))
        }
        // O_NONBLOCK so that a pipe that nobody writes to is refused below and not waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw failure("it is not a file")
        }
        // What was opened, and the way there: it says whose code is run and where secrets are sent.
        if let problem = PathTrust().problem(with: status) ?? PathTrust().problem(at: path) {
            throw ConfigurationError(.untrustedFile(setting: nil, path: path, problem: problem))
        }
        let data: Data
        do {
            data = try handle.read(upToCount: sizeLimit + 1) ?? Data()
        } catch {
            throw failure(error.localizedDescription)
        }
        guard data.count <= sizeLimit else { throw failure("it is larger than 1 MiB, which no configuration is") }
        guard let text = String(validating: data, as: UTF8.self) else { throw failure("it is not text in UTF-8") }
        return text
    }
}
