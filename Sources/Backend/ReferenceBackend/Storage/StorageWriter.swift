import AgentModel
import Foundation

/// One transaction. What it changed is there for its own reads.
protocol StorageWriter: StorageReader {
    // MARK: The backend itself

    /// Keeps the token where there is none yet.
    /// - Returns: Whether it was kept.
    func insertAdministrationToken(_ hash: String, at now: Date) throws -> Bool
    /// Replaces the token and ends all sessions.
    func replaceAdministrationToken(_ hash: String, at now: Date) throws
    /// Keeps a session, and deletes those that have ended.
    func insertSession(_ hash: String, until end: Date, at now: Date) throws
    func deleteSession(_ hash: String) throws
    func insertChange(_ change: CommandChange) throws
    /// Removes and returns the changes that were inserted, the oldest first.
    func takeChanges() throws -> [CommandChange]

    // MARK: Agents

    /// Does nothing where the agent is there.
    func insertAgent(_ id: String, at now: Date) throws
    func updateAgent(_ id: String, name: String?, teamID: String?) throws
    /// Takes the address from the agent that has it.
    func bind(_ address: String, to agentID: String) throws
    func noteContact(ofAgent id: String, at now: Date) throws
    /// With its addresses, assignments, tasks and tokens.
    /// - Returns: Whether it was there.
    func deleteAgent(_ id: String) throws -> Bool

    // MARK: Plugins and assignments

    /// Replaces the one with its id.
    func save(_ plugin: PluginDocument, at now: Date) throws
    /// - Returns: Whether it was there.
    func deletePlugin(_ id: String) throws -> Bool
    /// Does nothing where the agent has the plugin.
    /// - Parameter isSeeded: Whether it came from a seed folder, which takes away only what it brought.
    func assign(_ pluginID: String, to agentID: String, isSeeded: Bool) throws
    /// - Returns: Whether the agent had it.
    func unassign(_ pluginID: String, from agentID: String) throws -> Bool
    /// Takes an agent's seeded assignments that are of none of these plugins.
    func deleteSeededAssignments(ofAgent agentID: String, except pluginIDs: [String]) throws

    // MARK: Tasks

    /// Replaces the one with its id. A task of which there is a run is done from the beginning.
    func save(_ task: RegisteredTask, isSeeded: Bool) throws
    func update(_ task: RegisteredTask) throws
    /// - Returns: Whether it was there.
    func deleteTask(_ id: String) throws -> Bool
    /// Deletes an agent's seeded tasks that have none of these ids.
    func deleteSeededTasks(ofAgent agentID: String, except ids: [String]) throws

    // MARK: Runs

    /// Counts the run in its agent's storage, and marks its task as done.
    func insert(_ run: StoredRun) throws
    /// - Returns: Whether it was there.
    func deleteRun(_ id: String) throws -> Bool
    /// Deletes runs that came in before a time.
    /// - Returns: How many they were.
    func deleteRuns(_ filter: RunFilter, receivedBefore time: Date, limit: Int) throws -> Int

    // MARK: Runs in progress

    /// Takes the place of another run of its task.
    func insertRunInProgress(_ run: RunInProgress) throws
    /// Does nothing where that run is to be stopped already.
    /// - Parameter runID: Nil for the one run of a one-off task.
    func insertCancel(
        ofRun runID: String?, ofTask taskID: String, agentID: String, by: String?, reason: String?, at now: Date) throws
    /// A run is in progress no more, nor is one of its task that began before it, and nobody needs to stop it.
    func endRun(_ runID: String?, ofTask taskID: String, agentID: String, startedAt: Date?) throws
    /// How many of an agent's runs are to be stopped.
    func cancelCount(ofAgent agentID: String) throws -> Int

    // MARK: Logins with a device code

    /// - Parameter deviceCode: Its hash.
    func insert(_ login: StoredLogin, deviceCode: String) throws
    func setState(_ state: DeviceLogin.State, agentID: String?, ofLogin userCode: UserCode) throws
    /// Notes when a host polled and how long it is to wait until it polls again, in seconds.
    func notePoll(ofLogin userCode: UserCode, at now: Date, interval: Int) throws
    /// Denies the logins that were approved as an agent and whose host has not fetched its tokens.
    func denyApprovedLogins(ofAgent agentID: String) throws
    func deleteOldestPendingLogin(ofNetwork network: String, at now: Date) throws
    func deleteLogins(expiredBefore time: Date) throws

    // MARK: Tokens

    /// - Returns: The family's id.
    func insertTokenFamily(agentID: String, clientID: String, scope: String, at now: Date) throws -> Int64
    func setSecret(_ hash: String, ofTokenFamily id: Int64) throws
    func revokeTokenFamily(_ id: Int64) throws
    /// Notes that the backend and the agent have the same tokens again after a backup was restored.
    func endRestoration(ofTokenFamily id: Int64) throws
    func deleteTokenFamilies(ofAgent agentID: String) throws
    func insertToken(_ token: NewToken) throws
    /// Marks a refresh token as exchanged.
    func rotateToken(_ hash: String) throws
    /// Marks what came in place of a refresh token as used.
    func useSuccessors(of hash: String) throws
    /// Makes what came in place of a refresh token bad.
    func withdrawSuccessors(of hash: String) throws
    /// Makes all refresh tokens of a family bad that are in the storage.
    func supersedeRefreshTokens(ofFamily id: Int64) throws
    func deleteToken(_ hash: String) throws
    /// Deletes tokens that have expired and families without tokens.
    func deleteTokens(expiredAt now: Date) throws
}
