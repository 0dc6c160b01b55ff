internal import CPython

/// Why a call or a load failed, of the exception that is set.
extension Bootstrap {
    func attributeFailure(
        _ name: String, of plugin: PluginInstance, gil: borrowing GIL
    ) -> CallFailure {
        guard PyErr_ExceptionMatches(rb_exc_attribute_error()) != 0 else { return callFailure(gil: gil) }
        // A property that raises AttributeError in its own code has a traceback; a missing name has none.
        let exception = gil.takeException(describedBy: self)
        guard !exception.raisedInside else { return .raised(exception) }
        return .functionMissing(name: name, methods: plugin.methodNames(limit: 20, gil: gil))
    }

    func callFailure(gil: borrowing GIL) -> CallFailure {
        let timeLimit = PyErr_ExceptionMatches(timeLimitExceeded) != 0
        let flood = PyErr_ExceptionMatches(outputLimitExceeded) != 0
        let exit = PyErr_ExceptionMatches(rb_exc_system_exit()) != 0
        let mismatch = PyErr_ExceptionMatches(rb_exc_type_error()) != 0
        let exception = gil.takeException(describedBy: self)
        if timeLimit { return .timeLimitExceeded(exception) }
        if flood { return .outputLimitExceeded(exception) }
        if exit { return .exited(exception) }
        if mismatch && !exception.raisedInside { return .argumentMismatch(exception) }
        return .raised(exception)
    }

    func scriptFailure(gil: borrowing GIL) -> LoadFailure {
        let timeLimit = PyErr_ExceptionMatches(timeLimitExceeded) != 0
        let exception = gil.takeException(describedBy: self)
        return LoadFailure(stage: .execute, exception: exception, output: "", exceededTimeLimit: timeLimit)
    }
}
