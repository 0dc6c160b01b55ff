import AgentModel
import Diagnostics
import Foundation

/// Whether only root and the user that this process runs as can have put there, or can change, what a path leads to.
struct PathTrust {
    /// Whom files and folders may belong to.
    var owners: Set<uid_t> = [0, geteuid()]

    /// What is wrong with a file or folder, or a folder or symbolic link on the way to it; nil where nothing is, also
    /// where it isn't there.
    func problem(at path: String) -> String? {
        var waiting = Array(path.split(separator: "/").map(String.init).reversed())
        var folder = ""
        var links = 0
        if let problem = problem(ofItem: "/") { return problem }
        while let name = waiting.popLast() {
            switch name {
            case ".": continue
            case "..": folder = String(folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)])
            default:
                let item = folder + "/" + name
                if let problem = problem(ofItem: item) { return problem }
                guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: item) else {
                    folder = item
                    continue
                }
                links += 1
                // As the kernel (path_resolution(7)): opening it fails.
                guard links <= 40 else { return nil }
                if target.hasPrefix("/") { folder = "" }
                waiting += target.split(separator: "/").map(String.init).reversed()
            }
        }
        return nil
    }

    private func problem(ofItem path: String) -> String? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        var system = statvfs()
        // As the volumes of containers are: nobody can write there, whatever the mode says.
        let isReadOnly = statvfs(path, &system) == 0 && system.f_flag & UInt(ST_RDONLY) != 0
        return problem(with: status, isReadOnly: isReadOnly).map { "\(quoted(path)) \($0)" }
    }

    /// What is wrong with a file or folder that is open.
    func problem(with status: stat) -> String? { problem(with: status, isReadOnly: false).map { "it \($0)" } }

    private func problem(with status: stat, isReadOnly: Bool) -> String? {
        guard owners.contains(status.st_uid) else { return "belongs to the user with the id \(status.st_uid)" }
        // Whoever may write to a sticky folder, as to /tmp, can take nothing away that belongs to others.
        let isSticky = status.st_mode & S_IFMT == S_IFDIR && status.st_mode & S_ISVTX != 0
        guard status.st_mode & S_IFMT != S_IFLNK, !isSticky, !isReadOnly else { return nil }
        let mode = String(status.st_mode & 0o7777, radix: 8)
        if status.st_mode & S_IWOTH != 0 { return "may be changed by everybody (mode \(mode))" }
        if status.st_mode & S_IWGRP != 0, !isPrivate(status.st_gid) {
            return "may be changed by the group with the id \(status.st_gid) (mode \(mode))"
        }
        return nil
    }

    /// Whether a group is root's, or a user's own that has nobody else in it, as many distributions make one for each
    /// user.
    private func isPrivate(_ group: gid_t) -> Bool {
        if group == 0 { return true }
        var (user, entry) = (passwd(), CModuleGroup())
        var (userResult, groupResult): (UnsafeMutablePointer<passwd>?, UnsafeMutablePointer<CModuleGroup>?) = (nil, nil)
        var (userBuffer, groupBuffer) = ([CChar](repeating: 0, count: 4096), [CChar](repeating: 0, count: 16384))
        guard getpwuid_r(geteuid(), &user, &userBuffer, userBuffer.count, &userResult) == 0, userResult != nil,
            getgrgid_r(group, &entry, &groupBuffer, groupBuffer.count, &groupResult) == 0, groupResult != nil
        else { return false }
        let hasNoMembers = entry.gr_mem == nil || entry.gr_mem[0] == nil
        return user.pw_gid == group && hasNoMembers && strcmp(user.pw_name, entry.gr_name) == 0
    }

    private typealias CModuleGroup = Glibc.group
}

extension ConfigurationLoader {
    /// What is named must be as trustworthy as the file that names it: it is code that runs, or says whom to trust.
    mutating func refuseUntrustedFiles() {
        let trust = PathTrust()
        let named =
            configuration.pythonPath.map { (ConfigurationKey.pythonPath, $0) }
            + [
                (.caFile, configuration.caFile), (.clientCertificate, configuration.clientCertificate),
                (.clientKey, configuration.clientKey),
            ].compactMap { key, path in path.map { (key, $0) } }
        for (key, path) in named {
            guard let problem = trust.problem(at: path) else { continue }
            problems.append(.untrustedFile(setting: key.rawValue, path: path, problem: problem))
        }
        // A command of root may use the folders of the agent's user. Both look at what is in them themselves.
        for (key, path) in [
            (ConfigurationKey.keyFile, configuration.keyFile), (.pluginDirectory, configuration.pluginDirectory),
            (.stateDirectory, configuration.stateDirectory),
        ] {
            guard let path else { continue }
            let folder = (path as NSString).deletingLastPathComponent
            var status = stat()
            let exists = stat(path, &status) == 0 || stat(folder, &status) == 0
            let trust = PathTrust(
                owners: geteuid() == 0 && exists ? trust.owners.union([status.st_uid]) : trust.owners)
            // Without a file these are in the current folder, where nobody has named them.
            let isNamed = configuration.file != nil || folder != FileManager.default.currentDirectoryPath
            guard let problem = (isNamed ? trust.problem(at: folder) : nil) ?? trust.problem(ofLink: path) else {
                continue
            }
            problems.append(.untrustedFile(setting: key.rawValue, path: path, problem: problem))
        }
    }
}

extension PathTrust {
    /// What is wrong with a symbolic link itself; nil also where it is none.
    fileprivate func problem(ofLink path: String) -> String? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK, !owners.contains(status.st_uid) else {
            return nil
        }
        return "it is a symbolic link that belongs to the user with the id \(status.st_uid)"
    }
}
