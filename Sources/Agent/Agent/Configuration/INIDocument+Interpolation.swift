import AgentModel
import Diagnostics

extension INIDocument {
    /// The settings that hold in a section, those of `[DEFAULT]` included, with `%(name)s` replaced by the value of
    /// `name` in the same section or in `[DEFAULT]`, and `%%` by a percent sign, as `configparser` does.
    ///
    /// - Parameter used: gets the names that were replaced.
    func settings(
        of section: Section, used: inout Set<String>, problems: inout [ConfigurationProblem]
    ) -> [Entry] {
        let own = Set(section.entries.map(\.name))
        let entries = section.entries + defaults.entries.filter { !own.contains($0.name) }
        let values = Dictionary(entries.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        return entries.compactMap { entry in
            do throws(InterpolationFailure) {
                var entry = entry
                entry.value = try Self.interpolate(entry.value, values: values, depth: 1, used: &used)
                return entry
            } catch {
                let problem = ConfigurationProblem.syntax(
                    origin: origin(entry.line), problem: "\(quoted(entry.name)) \(error.problem)")
                // One of [DEFAULT] is met in each section.
                if !problems.contains(problem) { problems.append(problem) }
                return nil
            }
        }
    }

    private struct InterpolationFailure: Error {
        var problem: String
    }

    /// As deep as configparser goes.
    private static let depthLimit = 10

    private static func interpolate(
        _ value: String, values: [String: String], depth: Int, used: inout Set<String>
    ) throws(InterpolationFailure) -> String {
        guard value.contains("%") else { return value }
        guard depth <= depthLimit else {
            throw InterpolationFailure(problem: "refers to itself, or through more than \(depthLimit) other settings")
        }
        var result = ""
        var rest = value[...]
        while let percent = rest.firstIndex(of: "%") {
            result += rest[..<percent]
            rest = rest[percent...].dropFirst()
            if rest.first == "%" {
                result += "%"
                rest.removeFirst()
                continue
            }
            guard rest.first == "(", let end = rest.firstIndex(of: ")"),
                rest[rest.index(after: end)...].first == "s"
            else {
                throw InterpolationFailure(
                    problem: "has a % that is followed by neither % nor (name)s; write %% for a percent sign")
            }
            let name = rest[..<end].dropFirst().lowercased()
            guard let replacement = values[name] else {
                throw InterpolationFailure(
                    problem: "refers to \(quoted(name)), which is neither in its section nor in [DEFAULT]")
            }
            used.insert(name)
            result += try interpolate(replacement, values: values, depth: depth + 1, used: &used)
            rest = rest[rest.index(end, offsetBy: 2)...]
        }
        return result + rest
    }
}
