public import Foundation

/// A folder of mode 0700 that is removed, with all that is in it, when the last reference is gone.
public final class TemporaryFolder: Sendable {
    /// Without a slash at its end.
    public let path: String
    public var url: URL { URL(filePath: path, directoryHint: .isDirectory) }

    /// - Throws: `POSIXError` when the system's temporary folder takes none.
    public init() throws {
        let parent = FileManager.default.temporaryDirectory.path(percentEncoded: false)
        var template = Array((parent + (parent.hasSuffix("/") ? "" : "/") + "runbook-test-XXXXXX").utf8CString)
        // mkdtemp makes it with mode 0700.
        guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        // Resolved, so that it can be compared with what programs report.
        path = template.withUnsafeBufferPointer { buffer -> String in
            guard let resolved = realpath(buffer.baseAddress!, nil) else { return String(cString: buffer.baseAddress!) }
            defer { free(resolved) }
            return String(cString: resolved)
        }
    }

    deinit {
        // A test may have taken away the right to write.
        if let names = FileManager.default.enumerator(atPath: path) {
            for case let name as String in names {
                let item = path + "/" + name
                let type = try? FileManager.default.attributesOfItem(atPath: item)[.type] as? FileAttributeType
                if type == .typeDirectory { chmod(item, 0o700) }
            }
        }
        chmod(path, 0o700)
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of something in it.
    public func path(_ name: String) -> String { path + "/" + name }
}
