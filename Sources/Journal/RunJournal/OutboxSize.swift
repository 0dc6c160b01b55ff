import AgentModel

/// What a result counts in the outbox: its texts in UTF-8 and an allowance for everything else.
enum OutboxSize {
    private static let allowance = 512

    static func bytes(of result: TaskResult) -> Int {
        let texts = [
            result.data, result.stdout, result.stderr, result.error?.message, result.error?.traceback,
            result.pythonStack,
        ]
        return texts.reduce(allowance) { $0 + ($1?.utf8.count ?? 0) }
    }

    /// The same for a row of `run`.
    static let sql =
        "\(allowance)"
        + ["data", "stdout", "stderr", "error_message", "error_traceback", "python_stack"]
        .map { " + IFNULL(LENGTH(\($0)), 0)" }.joined()
}
