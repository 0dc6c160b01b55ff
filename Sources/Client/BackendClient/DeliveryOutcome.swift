/// What became of a result that was sent.
public enum DeliveryOutcome: Sendable {
    /// The backend has it.
    case delivered
    /// Not now. `after` is how long the backend asked to wait, nil where it did not.
    case retry(after: Duration?, BackendError)
    /// `401` or `403`, or there are no credentials to send: it waits for a login.
    case unauthorized(BackendError)
    /// It will never be taken: `404`, `410`, `422`, or a task id that can't be sent.
    case rejected(BackendError)
    /// `413`: it may be taken when it is smaller.
    case tooLarge(BackendError)

    init(_ error: BackendError) {
        switch error {
        case .unauthorized, .credentials: self = .unauthorized(error)
        case .invalidTaskID: self = .rejected(error)
        case .status(_, 404, _, _), .status(_, 410, _, _), .status(_, 422, _, _): self = .rejected(error)
        case .status(_, 413, _, _): self = .tooLarge(error)
        case .status(_, _, _, let retryAfter): self = .retry(after: retryAfter, error)
        default: self = .retry(after: nil, error)
        }
    }
}
