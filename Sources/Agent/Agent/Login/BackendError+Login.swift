import BackendClient
import DeviceAuthorization

extension BackendError {
    /// Whether nothing could be asked because a person has to log in first.
    var isLoginRequired: Bool {
        guard case .credentials(let error) = self, case .required? = error as? LoginError else { return false }
        return true
    }
}
