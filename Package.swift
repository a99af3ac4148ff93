// swift-tools-version: 6.2
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTesting = Target.Dependency.product(name: "HummingbirdTesting", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTPTypesHTTP1 = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")
let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let metrics = Target.Dependency.product(name: "CoreMetrics", package: "swift-metrics")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")
let tracing = Target.Dependency.product(name: "Tracing", package: "swift-distributed-tracing")
let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")

let package = Package(
    name: "checkout",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "checkout", targets: ["checkout"]),
        // For Benchmarks/, which measures them.
        .library(
            name: "CheckoutParts",
            targets: [
                "Correlation", "Idempotency", "Money", "OrderService", "Resilience", "ServiceClient", "ServiceKit",
                "StockAPI", "StockService", "Storage", "StrictJSON",
            ]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // The parts that know nothing of a checkout.
        library("Money"),
        library("StrictJSON"),
        library("OpenAPI", ["StrictJSON"]),
        library("Prometheus", [metrics]),
        library("Resilience"),
        library("Correlation", ["Resilience", tracing]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CStatx"),
        library("Storage", ["CSQLite", "CStatx", grdb, nioCore, sqlite]),
        library("Idempotency", ["Resilience", "Storage", crypto]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        library("ServiceClient", ["CCurl", "Correlation", "Resilience", "StrictJSON", tracing]),
        library(
            "OTLP",
            ["Correlation", "Prometheus", "Resilience", "ServiceClient", lifecycle, logging, metrics, tracing]),
        library(
            "ServiceKit",
            [
                "AuditAPI",
                "Correlation", "Idempotency", "OTLP", "OpenAPI", "Prometheus", "Resilience", "ServiceClient",
                "Storage",
                "StrictJSON", argumentParser, configuration, metrics, httpTypes, hummingbird, lifecycle, logging,
                hummingbirdCore, nioCore, nioHTTP1, nioHTTPTypes, nioHTTPTypesHTTP1, nioPosix, tracing,
            ]),
        library("MoneyJSON", ["Money", "OpenAPI", "StrictJSON"]),
        library("StockAPI", ["Money", "MoneyJSON", "OpenAPI", "Resilience", "ServiceClient", "StrictJSON"]),
        library("PaymentAPI", ["Money", "MoneyJSON", "Resilience", "ServiceClient", "StrictJSON"]),
        library(
            "ProviderAPI",
            ["Correlation", "Money", "MoneyJSON", "OpenAPI", "Resilience", "ServiceClient", "StrictJSON", crypto]),
        library("AuditAPI", ["Money", "Resilience", "StockAPI", "StrictJSON"]),
        library("Audit", ["AuditAPI", "Correlation", "Resilience", "ServiceClient", "StockAPI", "StrictJSON"]),
        library(
            "OperatorTools",
            ["Audit", "AuditAPI", "Correlation", "Resilience", "ServiceClient", "StrictJSON", histogram]),
        library(
            "StockService",
            [
                "AuditAPI",
                "Correlation", "Idempotency", "Money", "MoneyJSON", "OpenAPI", "Resilience", "ServiceKit", "StockAPI",
                "Storage", "StrictJSON",
                hummingbird,
            ]),
        library(
            "PaymentService",
            [
                "AuditAPI",
                "Correlation", "Idempotency", "Money", "MoneyJSON", "OpenAPI", "Prometheus", "ProviderAPI",
                "Resilience",
                "ServiceClient", "ServiceKit", "Storage", "StrictJSON", httpTypes, hummingbird, logging, metrics,
                tracing,
            ]),
        library(
            "OrderService",
            [
                "AuditAPI",
                "Correlation", "Idempotency", "Money", "MoneyJSON", "OpenAPI", "PaymentAPI", "Prometheus",
                "Resilience", "ServiceClient", "ServiceKit", metrics,
                "StockAPI", "Storage", "StrictJSON", hummingbird, lifecycle, logging, tracing,
            ]),
        library(
            "MockProvider",
            [
                "AuditAPI", "Correlation", "Idempotency", "Money", "MoneyJSON", "OpenAPI", "Prometheus", "ProviderAPI",
                "Resilience", "ServiceClient", "ServiceKit", "Storage", "StrictJSON", crypto, hummingbird, logging,
                metrics,
            ]),
        .executableTarget(
            name: "checkout",
            dependencies: [
                "Audit", "AuditAPI", "MockProvider", "OperatorTools", "OrderService", "PaymentService", "Resilience",
                "ServiceClient", "ServiceKit", "StockService", "Storage", "StrictJSON", argumentParser,
            ],
            swiftSettings: swiftSettings),
        .target(
            name: "TestSupport",
            dependencies: [
                "Correlation", "Idempotency", "Resilience", "ServiceClient", "ServiceKit", "Storage", "StrictJSON",
                httpTypes, hummingbird, hummingbirdTesting, logging, nioCore, nioPosix, tracing,
            ],
            path: "Tests/Support", swiftSettings: swiftSettings),
        .target(name: "SeededRandom", path: "Tests/SeededRandom", swiftSettings: swiftSettings),
        .target(
            name: "Simulation",
            dependencies: [
                "Correlation", "Idempotency", "Money", "OrderService", "PaymentAPI", "PaymentService", "ProviderAPI",
                "Resilience", "SeededRandom", "ServiceClient", "ServiceKit", "StockAPI", "StockService", "Storage",
                "StrictJSON",
                grdb, httpTypes, logging, nioCore,
            ],
            path: "Tests/Simulation", swiftSettings: swiftSettings),
        .executableTarget(
            name: "simulate", dependencies: ["Simulation", argumentParser], path: "Tests/SimulationRunner",
            swiftSettings: swiftSettings),
        tests("SimulationTests", ["Simulation"]),
        tests("MoneyTests", ["Money", "SeededRandom"]),
        tests("StrictJSONTests", ["StrictJSON"]),
        tests("OpenAPITests", ["OpenAPI", "StrictJSON"]),
        tests("PrometheusTests", ["Prometheus", metrics]),
        tests("ResilienceTests", ["Resilience", "TestSupport"]),
        tests("CorrelationTests", ["Correlation", "Resilience", "TestSupport", tracing]),
        tests(
            "OTLPTests",
            [
                "Correlation", "OTLP", "Prometheus", "Resilience", "ServiceClient", "TestSupport", lifecycle, logging,
                tracing,
            ]),
        tests("IdempotencyTests", ["Idempotency", "Resilience", "Storage", "TestSupport", nioCore, nioPosix]),
        tests("StorageTests", ["Storage", "TestSupport", nioCore, nioPosix]),
        tests(
            "ServiceClientTests",
            ["Correlation", "Resilience", "ServiceClient", "StrictJSON", "TestSupport", nioCore, nioPosix, tracing]),
        tests(
            "ProviderAPITests",
            ["Correlation", "Money", "ProviderAPI", "Resilience", "ServiceClient", "StrictJSON", "TestSupport"]),
        tests(
            "MockProviderTests",
            [
                "MockProvider", "Money", "ProviderAPI", "Resilience", "ServiceClient", "ServiceKit", "Storage",
                "StrictJSON", "TestSupport", hummingbird, hummingbirdTesting, logging, nioCore, nioPosix,
            ]),
        tests(
            "AuditTests",
            [
                "Audit", "AuditAPI", "Resilience", "ServiceClient", "StockAPI", "StrictJSON", "TestSupport",
            ]),
        tests(
            "OperatorToolsTests",
            ["OperatorTools", "Resilience", "ServiceClient", "StrictJSON", "TestSupport", histogram]),
        tests(
            "OrderServiceTests",
            [
                "AuditAPI",
                "Correlation", "Idempotency", "Money", "OrderService", "PaymentAPI", "Prometheus", "Resilience",
                "ServiceClient",
                "ServiceKit",
                "StockAPI", "Storage", "StrictJSON", "TestSupport", httpTypes, hummingbird, hummingbirdTesting,
                lifecycle, logging, nioCore, tracing,
            ]),
        tests(
            "ServiceKitTests",
            [
                "AuditAPI", "Correlation", "Idempotency", "OTLP", "OpenAPI", "Prometheus", "Resilience",
                "ServiceClient",
                "ServiceKit",
                "Storage", "StrictJSON",
                "TestSupport", httpTypes, hummingbird, hummingbirdTesting, lifecycle, logging, metrics, nioCore,
                nioEmbedded, nioHTTP1, nioHTTPTypes, nioPosix, tracing, argumentParser,
            ]),
        tests(
            "StockServiceTests",
            [
                "AuditAPI", "Correlation", "Idempotency", "Money", "Resilience", "SeededRandom", "ServiceClient",
                "ServiceKit",
                "StockAPI",
                "StockService", "Storage", "StrictJSON", "TestSupport", httpTypes, hummingbird, hummingbirdTesting,
                logging, nioCore, nioPosix,
            ]),
        tests(
            "PaymentServiceTests",
            [
                "AuditAPI", "Correlation", "Idempotency", "Money", "PaymentService", "Prometheus", "ProviderAPI",
                "Resilience",
                "SeededRandom",
                "ServiceClient", "ServiceKit",
                "Storage", "StrictJSON", "TestSupport", httpTypes, hummingbird, hummingbirdTesting, lifecycle, logging,
                tracing,
                nioCore,
            ]),
    ]
)
