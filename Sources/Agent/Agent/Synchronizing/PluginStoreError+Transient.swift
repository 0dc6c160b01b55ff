import BackendClient
import PluginStore

extension PluginStoreError {
    /// Whether the next attempt may well succeed without anybody doing anything about the plugin.
    var isTransient: Bool {
        switch self {
        case .disk: true
        case .backend(let error): error.isTransient
        default: false
        }
    }
}

extension BackendError {
    fileprivate var isTransient: Bool {
        switch self {
        case .invalidDocument, .idMismatch, .scriptTooLarge, .missingData: false
        // Request timeout and too many requests (RFC 9110, section 15.5.9; RFC 6585, section 4).
        case .status(_, let status, _, _): !(400..<500).contains(status) || status == 408 || status == 429
        default: true
        }
    }
}
