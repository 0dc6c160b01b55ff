// swift-tools-version: 6.2

import PackageDescription

let package = Package(
    name: "runbook-agent",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "runbook-agent", targets: ["runbook-agent"]),
        .executable(name: "runbook-backend", targets: ["runbook-backend"]),
        .executable(name: "runbook", targets: ["runbook"]),
        // What Benchmarks/ measures; CPython for the floor beside it.
        .library(name: "Agent", targets: ["Agent"]),
        .library(name: "AgentModel", targets: ["AgentModel"]),
        .library(name: "BackendClient", targets: ["BackendClient"]),
        .library(name: "CPython", targets: ["CPython"]),
        .library(name: "Threads", targets: ["Threads"]),
        .library(name: "Cryptography", targets: ["Cryptography"]),
        .library(name: "CronSchedule", targets: ["CronSchedule"]),
        .library(name: "PythonEmbedding", targets: ["PythonEmbedding"]),
        .library(name: "PluginExecution", targets: ["PluginExecution"]),
        .library(name: "PluginStore", targets: ["PluginStore"]),
        .library(name: "ReferenceBackend", targets: ["ReferenceBackend"]),
        .library(name: "RunJournal", targets: ["RunJournal"]),
        .library(name: "Sandbox", targets: ["Sandbox"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // MARK: C libraries of the system, found through pkg-config

        .systemLibrary(
            name: "CPython", path: "Modules/CPython", pkgConfig: "python3-embed",
            providers: [.apt(["libpython3-dev"])]),
        .systemLibrary(
            name: "CCurl", path: "Modules/CCurl", pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(
            name: "COpenSSL", path: "Modules/COpenSSL", pkgConfig: "libcrypto",
            providers: [.apt(["libssl-dev"])]),

        .systemLibrary(name: "CProcess", path: "Modules/CProcess"),

        // MARK: Leaves

        .target(name: "CArguments"),
        .target(name: "CommandOutput", dependencies: ["Diagnostics"]),
        .target(name: "Files"),
        .target(name: "Quantities"),
        .target(name: "Threads"),
        .target(name: "Diagnostics", dependencies: ["Threads"]),
        .target(name: "AgentModel", dependencies: ["Diagnostics"]),
        .target(name: "CronSchedule", dependencies: ["Diagnostics"]),
        .target(name: "Cryptography", dependencies: ["Diagnostics", "COpenSSL"]),
        .target(
            name: "PythonEmbedding",
            dependencies: [
                "AgentModel", "CArguments", "CPrograms", "CPython", "CStacks", "Diagnostics", "Files", "Threads",
            ],
            plugins: ["EmbedFiles"]),
        .target(
            name: "BackendClient",
            dependencies: [
                "AgentModel", "CCurl", "Diagnostics", "Threads", .product(name: "Logging", package: "swift-log"),
            ]),

        .target(
            name: "ProcessLogging",
            dependencies: ["Diagnostics", .product(name: "Logging", package: "swift-log")]),

        .target(name: "CPrograms"),
        .target(name: "CStacks"),
        .target(name: "CSandbox"),
        .target(
            name: "Sandbox",
            dependencies: ["AgentModel", "CArguments", "Diagnostics", "CPrograms", "CSandbox", "Threads"]),

        .executableTarget(name: "embed-files"),
        .plugin(name: "EmbedFiles", capability: .buildTool(), dependencies: ["embed-files"]),

        // MARK: What stands on the leaves

        .target(
            name: "DeviceAuthorization",
            dependencies: [
                "AgentModel", "BackendClient", "Diagnostics", "Cryptography",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "PluginStore",
            dependencies: [
                "AgentModel", "BackendClient", "Diagnostics", "Cryptography",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "PluginExecution",
            dependencies: [
                "AgentModel", "Diagnostics", "CPrograms", "PythonEmbedding", "Sandbox", "Threads",
                .product(name: "DequeModule", package: "swift-collections"),
            ]),
        .target(
            name: "SandboxEscapes",
            dependencies: ["AgentModel", "Diagnostics", "PluginExecution", "PythonEmbedding", "Sandbox"],
            plugins: ["EmbedFiles"]),
        .target(name: "CCallTrace"),
        .target(
            name: "RunJournal",
            dependencies: [
                "AgentModel", "CCallTrace", "Diagnostics", "Files", "Threads",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),

        // MARK: The agent

        .target(name: "CSignals"),
        .target(
            name: "Agent",
            dependencies: [
                "AgentModel", "BackendClient", "Diagnostics", "CProcess", "CronSchedule", "Cryptography", "CSignals",
                "DeviceAuthorization", "PluginExecution", "PluginStore", "ProcessLogging", "PythonEmbedding",
                "Quantities", "RunJournal", "Sandbox", "Threads",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .target(
            name: "AgentCommands",
            dependencies: [
                "Agent", "AgentModel", "BackendClient", "CommandOutput", "Diagnostics", "CronSchedule", "Cryptography",
                "DeviceAuthorization", "PluginExecution", "PluginStore", "ProcessLogging", "PythonEmbedding",
                "Quantities", "RunJournal", "Sandbox", "SandboxEscapes", "Threads",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(name: "CInitProcess"),
        .executableTarget(name: "runbook-agent", dependencies: ["AgentCommands", "CInitProcess", "ProcessLogging"]),

        // MARK: The backend

        .target(
            name: "ReferenceBackend",
            dependencies: [
                "AgentModel", "CronSchedule", "Cryptography", "Diagnostics", "Files",
                .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "runbook-backend",
            dependencies: [
                "AgentModel", "Diagnostics", "ProcessLogging", "Quantities", "ReferenceBackend",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // MARK: The operator's client

        .target(
            name: "RunbookCommands",
            dependencies: [
                "AgentModel", "BackendClient", "CommandOutput", "CronSchedule", "Cryptography", "Diagnostics",
                "Threads", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ]),
        .executableTarget(name: "runbook", dependencies: ["ProcessLogging", "RunbookCommands"]),

        // MARK: Tests

        .target(
            name: "AgentTestSupport",
            dependencies: [
                "Agent", "AgentModel", "Diagnostics", "DeviceAuthorization", "ReferenceBackend", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(name: "PythonCallCases", dependencies: ["PythonEmbedding"]),
        .target(
            name: "ReliabilityTesting",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", "Diagnostics", "Cryptography", "ReferenceBackend",
                "RunJournal", "Threads", .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        .executableTarget(
            name: "chaos",
            dependencies: [
                "ReliabilityTesting", "Threads", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "instructions", dependencies: ["Agent", "AgentModel", "CronSchedule", "PythonEmbedding", "Threads"]),
        .testTarget(name: "QuantitiesTests", dependencies: ["Quantities"]),
        .testTarget(name: "AgentModelTests", dependencies: ["AgentModel", "Diagnostics"]),
        .testTarget(
            name: "CronScheduleTests", dependencies: ["AgentModel", "Diagnostics", "CronSchedule", "Threads"],
            exclude: ["Vectors"]),
        .testTarget(name: "CryptographyTests", dependencies: ["AgentModel", "Cryptography"]),
        .testTarget(
            name: "PythonEmbeddingTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "PluginExecution", "PythonCallCases", "PythonEmbedding", "Threads",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"), "runbook-agent",
            ], exclude: ["Python"]),
        .testTarget(name: "ThreadsTests", dependencies: ["Threads"]),
        .testTarget(
            name: "BackendClientTests",
            dependencies: [
                "Diagnostics",
                "AgentModel", "AgentTestSupport", "BackendClient", "Threads",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "DeviceAuthorizationTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "DeviceAuthorization",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "PluginStoreTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "PluginStore",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "PluginExecutionTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "PluginExecution", "PythonCallCases", "PythonEmbedding", "Sandbox",
                "Threads", "runbook-agent",
            ]),
        .testTarget(name: "SandboxTests", dependencies: ["AgentModel", "AgentTestSupport", "Sandbox"]),
        .testTarget(
            name: "SandboxEscapesTests",
            dependencies: [
                "Sandbox", "SandboxEscapes", "runbook-agent", .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]),
        .testTarget(
            name: "RunJournalTests",
            dependencies: ["AgentModel", "RunJournal", .product(name: "GRDB", package: "GRDB.swift")]),
        .testTarget(
            name: "AgentCommandsTests", dependencies: ["Agent", "AgentCommands", "CommandOutput"], exclude: ["Vectors"]),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "Agent", "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "Diagnostics",
                "CronSchedule", "PluginExecution", "PluginStore", "ProcessLogging", "PythonEmbedding", "RunJournal",
                "Sandbox",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "ReferenceBackendTests",
            dependencies: [
                "Diagnostics",
                "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "ReferenceBackend",
                "runbook-backend", .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(name: "RunbookCommandsTests", dependencies: ["AgentModel", "AgentTestSupport", "RunbookCommands"]),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Agent", "AgentModel", "AgentTestSupport", "Diagnostics", "Cryptography", "ReferenceBackend",
                "ReliabilityTesting", "RunJournal", "runbook", "runbook-agent",
                "runbook-backend",
                .product(name: "GRDB", package: "GRDB.swift"), .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// Where the sources are. What is in one folder uses what is in the same folder and in those above it, and nothing below:
// `Scripts/check-imports.sh` sees to that.
let folders: KeyValuePairs = [
    "Sources/Support": [
        "CArguments", "CommandOutput", "CronSchedule", "Cryptography", "Diagnostics", "EmbedFiles", "Files",
        "ProcessLogging", "Quantities", "Threads", "embed-files",
    ],
    "Sources/Contract": ["AgentModel"],
    "Sources/Client": ["BackendClient", "DeviceAuthorization"],
    "Sources/Plugins": [
        "CPrograms", "CSandbox", "CStacks", "PluginExecution", "PluginStore", "PythonEmbedding", "Sandbox",
        "SandboxEscapes",
    ],
    "Sources/Journal": ["CCallTrace", "RunJournal"],
    "Sources/Agent": ["Agent", "AgentCommands", "CInitProcess", "CSignals", "runbook-agent"],
    "Sources/Backend": ["ReferenceBackend", "runbook-backend"],
    "Sources/Operator": ["RunbookCommands", "runbook"],
    "Tests/Support": ["AgentTestSupport", "PythonCallCases", "ReliabilityTesting", "chaos", "instructions"],
]
for (folder, names) in folders {
    for target in package.targets where names.contains(target.name) { target.path = "\(folder)/\(target.name)" }
}

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]
for target in package.targets where target.type != .system && target.type != .plugin {
    target.swiftSettings = (target.swiftSettings ?? []) + settings
}
