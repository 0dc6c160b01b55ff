/// The version of this program, as results and the user agent carry it.
public enum AgentVersion {
    public static let current = "0.1.0"
}
