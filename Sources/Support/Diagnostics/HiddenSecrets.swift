import Threads

/// Takes secrets out of texts that were put together by somebody else: libcurl, OpenSSL, SQLite and Python quote what
/// they were given.
///
/// What is known to be a secret is registered once; the user information of any URL is taken for one.
public enum HiddenSecrets {
    public static let placeholder = "(hidden)"

    /// A shorter text stands in too many words.
    private static let leastLength = 6

    private static let registered = BlockingLock<[String]>([])

    /// Registers texts, for the life of the process. Those with less than six characters are left out.
    public static func add(_ secrets: [String]) {
        registered.withLock { registered in
            for secret in secrets where secret.utf8.count >= leastLength && !registered.contains(secret) {
                registered.append(secret)
            }
            // The longest first: one may be a part of another.
            registered.sort { $0.utf8.count > $1.utf8.count }
        }
    }

    /// The text without registered secrets and without the user information of URLs.
    public static func hidden(in text: String) -> String {
        var text = text
        for secret in registered.withLock({ $0 }) where contains(text, secret) {
            text = text.split(separator: secret, omittingEmptySubsequences: false).joined(separator: placeholder)
        }
        return hidingUserInformation(in: text)
    }

    private static func contains(_ text: String, _ part: String) -> Bool {
        text.utf8.count >= part.utf8.count && text.contains(part)
    }

    /// Of `http://user:secret@host` also where what is behind the `@` is no host or port.
    private static func hidingUserInformation(in text: String) -> String {
        let bytes = Array(text.utf8)
        guard bytes.contains(UInt8(ascii: "@")) else { return text }
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard bytes[index...].starts(with: "://".utf8) else {
                result.append(bytes[index])
                index += 1
                continue
            }
            result += "://".utf8
            index += 3
            if let end = endOfUserInformation(in: bytes, from: index) {
                result += placeholder.utf8
                index = end
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The `@` behind user information; nil where there is none.
    private static func endOfUserInformation(in bytes: [UInt8], from start: Int) -> Int? {
        let url = bytes[start...].prefix { $0 > 0x20 && !"\"'<>`\\".utf8.contains($0) }
        let authority = url.prefix { !"/?#".utf8.contains($0) }
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) { return at }
        // A password may have a slash in it where the URL is malformed. A port hasn't.
        guard let colon = authority.firstIndex(of: UInt8(ascii: ":")), authority.first != UInt8(ascii: "[") else {
            return nil
        }
        let port = authority[(colon + 1)...]
        let isPort = port.allSatisfy { (0x30...0x39).contains($0) }
        return isPort ? nil : url.lastIndex(of: UInt8(ascii: "@"))
    }
}
