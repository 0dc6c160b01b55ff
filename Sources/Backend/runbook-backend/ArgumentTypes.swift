public import ArgumentParser
public import Logging
public import ReferenceBackend

// Values of other modules of this package and of swift-log that stand in arguments by their raw value.

extension AgentAuthentication: ExpressibleByArgument {}

extension Logger.Level: @retroactive ExpressibleByArgument {}
