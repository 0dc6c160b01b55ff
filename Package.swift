// swift-tools-version: 6.2

import PackageDescription

let package = Package(
    name: "runbook-agent",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "runbook-agent", targets: ["runbook-agent"]),
        .executable(name: "runbook-backend", targets: ["runbook-backend"]),
        // What Benchmarks/ measures; CPython for the floor beside it.
        .library(name: "Agent", targets: ["Agent"]),
        .library(name: "AgentModel", targets: ["AgentModel"]),
        .library(name: "BackendClient", targets: ["BackendClient"]),
        .library(name: "CPython", targets: ["CPython"]),
        .library(name: "Cryptography", targets: ["Cryptography"]),
        .library(name: "CronSchedule", targets: ["CronSchedule"]),
        .library(name: "PythonEmbedding", targets: ["PythonEmbedding"]),
        .library(name: "PluginExecution", targets: ["PluginExecution"]),
        .library(name: "PluginStore", targets: ["PluginStore"]),
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

        .target(name: "AgentModel"),
        .target(name: "CronSchedule", dependencies: ["AgentModel"]),
        .target(name: "Cryptography", dependencies: ["AgentModel", "COpenSSL"]),
        .target(name: "PythonEmbedding", dependencies: ["AgentModel", "CPrograms", "CPython"]),
        .target(
            name: "BackendClient",
            dependencies: ["AgentModel", "CCurl", .product(name: "Logging", package: "swift-log")]),

        .target(
            name: "ProcessLogging", dependencies: ["AgentModel", .product(name: "Logging", package: "swift-log")]),

        .target(name: "CPrograms"),
        .target(name: "CSandbox"),
        .target(name: "Sandbox", dependencies: ["AgentModel", "CPrograms", "CSandbox"]),

        // MARK: What stands on the leaves

        .target(
            name: "DeviceAuthorization",
            dependencies: [
                "AgentModel", "BackendClient", "Cryptography", .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "PluginStore",
            dependencies: [
                "AgentModel", "BackendClient", "Cryptography", .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "PluginExecution",
            dependencies: [
                "AgentModel", "CPrograms", "PythonEmbedding", "Sandbox",
                .product(name: "DequeModule", package: "swift-collections"),
            ]),
        .target(
            name: "SandboxEscapes", dependencies: ["AgentModel", "PluginExecution", "PythonEmbedding", "Sandbox"],
            resources: [.embedInCode("escapes.py")]),
        .target(name: "CCallTrace"),
        .target(
            name: "RunJournal",
            dependencies: [
                "AgentModel", "CCallTrace", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),

        // MARK: The agent

        .target(name: "CSignals"),
        .target(
            name: "Agent",
            dependencies: [
                "AgentModel", "BackendClient", "CProcess", "CronSchedule", "CSignals", "Cryptography",
                "DeviceAuthorization",
                "PluginExecution", "PluginStore", "ProcessLogging", "PythonEmbedding", "RunJournal", "Sandbox",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .target(
            name: "AgentCommands",
            dependencies: [
                "Agent", "AgentModel", "BackendClient", "CronSchedule", "Cryptography", "DeviceAuthorization",
                "PluginExecution", "PluginStore", "ProcessLogging", "PythonEmbedding", "RunJournal", "Sandbox",
                "SandboxEscapes",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(name: "CInitProcess"),
        .executableTarget(name: "runbook-agent", dependencies: ["AgentCommands", "CInitProcess", "ProcessLogging"]),

        // MARK: The backend

        .target(
            name: "ReferenceBackend",
            dependencies: [
                "AgentModel", "CronSchedule", "Cryptography",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
            ]),
        .executableTarget(
            name: "runbook-backend",
            dependencies: [
                "AgentModel", "ProcessLogging", "ReferenceBackend",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // MARK: Tests

        .target(
            name: "AgentTestSupport",
            dependencies: [
                "Agent", "AgentModel", "DeviceAuthorization", "ReferenceBackend",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(name: "PythonCallCases", dependencies: ["PythonEmbedding"]),
        .target(
            name: "ReliabilityTesting",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "ReferenceBackend", "RunJournal",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]),
        .executableTarget(
            name: "chaos",
            dependencies: [
                "ReliabilityTesting", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .testTarget(name: "AgentModelTests", dependencies: ["AgentModel"]),
        .testTarget(
            name: "CronScheduleTests", dependencies: ["AgentModel", "CronSchedule"], exclude: ["Vectors"]),
        .testTarget(name: "CryptographyTests", dependencies: ["AgentModel", "Cryptography"]),
        .testTarget(
            name: "PythonEmbeddingTests",
            dependencies: [
                "AgentModel", "PythonCallCases", "PythonEmbedding", "PluginExecution",
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]),
        .testTarget(
            name: "BackendClientTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", .product(name: "Logging", package: "swift-log"),
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
                "runbook-agent",
            ]),
        .testTarget(name: "SandboxTests", dependencies: ["AgentModel", "AgentTestSupport", "Sandbox"]),
        .testTarget(
            name: "SandboxEscapesTests",
            dependencies: [
                "Sandbox", "SandboxEscapes", .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"), "runbook-agent",
            ]),
        .testTarget(
            name: "RunJournalTests",
            dependencies: ["AgentModel", "RunJournal", .product(name: "GRDB", package: "GRDB.swift")]),
        .testTarget(name: "AgentCommandsTests", dependencies: ["AgentCommands"], exclude: ["Vectors"]),
        .testTarget(
            name: "AgentTests",
            dependencies: [
                "Agent", "AgentModel", "AgentTestSupport", "BackendClient", "CronSchedule", "ProcessLogging",
                "RunJournal", "Sandbox",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "ReferenceBackendTests",
            dependencies: [
                "AgentModel", "AgentTestSupport", "BackendClient", "Cryptography", "ReferenceBackend",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"), "runbook-backend",
            ]),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Agent", "AgentModel", "AgentTestSupport", "Cryptography", "ReferenceBackend", "ReliabilityTesting",
                "RunJournal", .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "InMemoryLogging", package: "swift-log"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"), "runbook-agent", "runbook-backend",
            ]),
    ],
    swiftLanguageModes: [.v6]
)

for target in package.targets where target.type != .system {
    target.swiftSettings =
        (target.swiftSettings ?? []) + [
            .enableUpcomingFeature("ExistentialAny"),
            .enableUpcomingFeature("MemberImportVisibility"),
            .enableUpcomingFeature("InternalImportsByDefault"),
            .treatAllWarnings(as: .error),
        ]
}
