// swift-tools-version: 6.2

import PackageDescription

let package = Package(
    name: "runbook-benchmarks",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "runbook-agent", path: ".."),
        // Without its traits: they would count allocations and retains, and slow down what is measured.
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "RunbookBenchmarks",
            dependencies: [
                .product(name: "Agent", package: "runbook-agent"),
                .product(name: "AgentModel", package: "runbook-agent"),
                .product(name: "BackendClient", package: "runbook-agent"),
                .product(name: "Benchmark", package: "benchmark"),
                .product(name: "CPython", package: "runbook-agent"),
                .product(name: "CronSchedule", package: "runbook-agent"),
                .product(name: "Cryptography", package: "runbook-agent"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "PluginExecution", package: "runbook-agent"),
                .product(name: "PluginStore", package: "runbook-agent"),
                .product(name: "PythonEmbedding", package: "runbook-agent"),
                .product(name: "ReferenceBackend", package: "runbook-agent"),
                .product(name: "RunJournal", package: "runbook-agent"),
                // Not linked: it is built beside, for the children of the sandbox and the agents that are measured.
                .product(name: "runbook-agent", package: "runbook-agent"),
                .product(name: "runbook-backend", package: "runbook-agent"),
                .product(name: "runbook", package: "runbook-agent"),
                .product(name: "Sandbox", package: "runbook-agent"),
            ],
            path: "Benchmarks/RunbookBenchmarks",
            swiftSettings: [
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("MemberImportVisibility"),
                .enableUpcomingFeature("InternalImportsByDefault"),
                .treatAllWarnings(as: .error),
            ],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
    ],
    swiftLanguageModes: [.v6]
)
