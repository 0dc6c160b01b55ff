import AgentModel
import Foundation

/// One consistent state of the storage. Valid within the call of `Storage.read` or `Storage.write` that gave it.
protocol StorageReader {
    // MARK: The backend itself

    /// Made with the storage, and kept by copies and backups of it.
    func backendID() throws -> String
    /// The SHA-512 in hexadecimal; nil where no token was made yet.
    func administrationTokenHash() throws -> String?
    /// Whether the session with this SHA-512 is good at a time.
    func hasSession(_ hash: String, at now: Date) throws -> Bool
    /// Whether there are changes that ``StorageWriter/takeChanges()`` would return.
    func hasChanges() throws -> Bool

    // MARK: Agents

    func agent(_ id: String) throws -> RegisteredAgent?
    func agent(atAddress address: String) throws -> AgentContact?
    /// The ids of those with a name, the oldest first.
    func agents(named name: String) throws -> [String]
    /// When an agent was last heard of.
    func lastContact(ofAgent id: String) throws -> Date?
    /// The oldest first.
    func agents(_ page: PageRequest) throws -> Page<RegisteredAgent>
    /// What an agent's runs take, in bytes.
    func storedBytes(ofAgent id: String) throws -> Int

    // MARK: Plugins and assignments

    func hasPlugin(_ id: String) throws -> Bool
    func plugin(_ id: String) throws -> PublishedPlugin?
    /// Without their scripts, the oldest first.
    func plugins(_ page: PageRequest) throws -> Page<PublishedPlugin>
    func isAssigned(_ pluginID: String, to agentID: String) throws -> Bool
    /// The ids of the agents that have a plugin, in the order of assignment.
    func agents(withPlugin pluginID: String) throws -> [String]
    /// The full names of the commands of all plugins that an agent has.
    func commands(ofAgent agentID: String) throws -> Set<String>

    // MARK: Tasks

    func hasTask(_ id: String) throws -> Bool
    func task(_ id: String) throws -> RegisteredTask?
    /// Whether a one-off task has had its result, which may have been deleted since.
    func isDone(_ taskID: String) throws -> Bool
    /// Of one agent or, with nil, of all, the oldest first.
    func tasks(ofAgent agentID: String?, _ page: PageRequest) throws -> Page<RegisteredTask>
    /// What is enabled and scheduled, and what is enabled and has no result yet, the oldest first.
    func dueTasks(ofAgent agentID: String) throws -> [TaskDocument]

    // MARK: Runs

    func run(_ id: String) throws -> StoredRun?
    /// The run that an agent calls by an id.
    func run(_ runID: String, ofAgent agentID: String) throws -> StoredRun?
    /// A run of a task whose result is this text to the letter.
    func run(ofTask taskID: String, agentID: String, data: String?) throws -> StoredRun?
    /// With their long texts cut to `BackendService.excerptSize`, the newest first.
    func runs(_ filter: RunFilter, _ page: PageRequest) throws -> Page<StoredRun>
    func runCount(ofTask taskID: String) throws -> Int

    // MARK: Runs in progress

    /// One that an agent has told of and that has no result.
    func runInProgress(_ runID: String, ofAgent agentID: String) throws -> RunInProgress?
    /// Mostly one: agents make up their ids by themselves.
    func runsInProgress(withID runID: String) throws -> [RunInProgress]
    func runInProgress(ofTask taskID: String) throws -> RunInProgress?
    /// Of one agent or, with nil, of all, the oldest first.
    func runsInProgress(ofAgent agentID: String?, limit: Int) throws -> [RunInProgress]
    /// What an agent is to stop, in the order in which it was asked for.
    func cancels(ofAgent agentID: String) throws -> [RunRequests.Cancel]

    // MARK: Logins with a device code

    func login(userCode: UserCode) throws -> StoredLogin?
    /// - Parameter hash: Of the device code.
    func login(deviceCode hash: String, clientID: String) throws -> StoredLogin?
    /// Those that wait for a decision or for their host, the oldest first.
    func liveLogins(at now: Date, _ page: PageRequest) throws -> Page<StoredLogin>
    /// How many logins of a network began after a time, and when the first of them did.
    func logins(ofNetwork network: String, since time: Date) throws -> (count: Int, first: Date?)
    func pendingLoginCount(at now: Date) throws -> Int
    /// The network that most of the pending logins are of.
    func networkWithMostPendingLogins(at now: Date) throws -> String?

    // MARK: Tokens

    /// - Parameter hash: SHA-512 in hexadecimal, as everywhere here.
    func token(_ hash: String) throws -> StoredToken?
    /// Whether a refresh token came in place of this one that nobody has used.
    func hasUnusedSuccessor(of hash: String) throws -> Bool
    /// The family that is not revoked and has this secret.
    func tokenFamily(withSecret hash: String) throws -> StoredTokenFamily?
}
