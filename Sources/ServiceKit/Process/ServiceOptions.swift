import ArgumentParser
import OTLP

/// The flags that every service has. Their texts are the whole reference of the common settings.
public struct ServiceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Address to listen on (HOST; default 127.0.0.1).", valueName: "address"))
    var host: String?

    @Option(help: ArgumentHelp("Port to listen on (PORT; default: the service's own).", valueName: "number"))
    var port: String?

    @Option(
        help: ArgumentHelp(
            "Address to listen on for operators, not for the public (OPERATOR_HOST; default 127.0.0.1).",
            valueName: "address"))
    var operatorHost: String?

    @Option(
        help: ArgumentHelp(
            "Port to listen on for operators (OPERATOR_PORT; default: ten above the service's own usual one).",
            valueName: "number"))
    var operatorPort: String?

    @Option(help: ArgumentHelp("Directory of the service's files (DATA_DIR; default ./var).", valueName: "path"))
    var dataDir: String?

    @Option(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical (LOG_LEVEL; default info).", valueName: "level"))
    var logLevel: String?

    @Option(
        help: ArgumentHelp(
            "Where keys and data are kept: file, or memory, which forgets them on exit (IDEMPOTENCY_BACKEND; default file).",
            valueName: "backend"))
    var idempotencyBackend: String?

    @Option(
        help: ArgumentHelp(
            "Whether a missing store stops the start, where otherwise a new one is made, true or false (STORE_MUST_EXIST; default false).",
            valueName: "flag"))
    var storeMustExist: String?

    @Option(
        help: ArgumentHelp(
            "How long a settled key is remembered (IDEMPOTENCY_TTL_SECONDS; default 86400).", valueName: "seconds"))
    var idempotencyTtlSeconds: String?

    @Option(
        help: ArgumentHelp(
            "How long a stop may wait for requests in flight (SHUTDOWN_TIMEOUT_SECONDS; default 30).",
            valueName: "seconds"))
    var shutdownTimeoutSeconds: String?

    /// No flags.
    public init() {}

    /// The flags given, by the name of their environment variable.
    public var flags: [String: String?] {
        [
            "HOST": host, "PORT": port, "OPERATOR_HOST": operatorHost, "OPERATOR_PORT": operatorPort,
            "DATA_DIR": dataDir, "LOG_LEVEL": logLevel,
            "IDEMPOTENCY_BACKEND": idempotencyBackend, "STORE_MUST_EXIST": storeMustExist,
            "IDEMPOTENCY_TTL_SECONDS": idempotencyTtlSeconds,
            "SHUTDOWN_TIMEOUT_SECONDS": shutdownTimeoutSeconds,
        ]
    }
}

/// What every service reads from its settings.
public struct ServiceConfiguration: Sendable {
    /// Where keys and data are kept.
    public enum Backend: String, CaseIterable, Sendable {
        /// In this process; nothing survives its end.
        case memory
        /// In one SQLite file.
        case file
    }

    /// Address to listen on.
    public let host: String
    /// Port to listen on; 0 takes any free one.
    public let port: Int
    /// Address to listen on for operators.
    public let operatorHost: String
    /// Port to listen on for operators; 0 takes any free one.
    public let operatorPort: Int
    /// Directory of the service's files.
    public let dataDirectory: String
    /// The least level that is logged.
    public let logLevel: LogLevel
    /// Where keys and data are kept.
    public let backend: Backend
    /// Whether a missing store stops the start.
    public let storeMustExist: Bool
    /// How long a settled key is remembered.
    public let keyTimeToLive: Duration
    /// How long a stop may wait for requests in flight.
    public let shutdownTimeout: Duration
    /// Where spans go; nil records none (OP-04).
    public let tracing: OTLPConfiguration?

    /// The words of `LOG_LEVEL`.
    public enum LogLevel: String, CaseIterable, Sendable {
        case trace, debug, info, notice, warning, error, critical
    }

    /// Reads `HOST`, `PORT`, `OPERATOR_HOST`, `OPERATOR_PORT`, `DATA_DIR`, `LOG_LEVEL`, `IDEMPOTENCY_BACKEND`, `STORE_MUST_EXIST`,
    /// `IDEMPOTENCY_TTL_SECONDS`, `SHUTDOWN_TIMEOUT_SECONDS`, and OpenTelemetry's variables.
    ///
    /// - Parameter name: the service's, for its spans.
    public init(_ settings: Settings, defaultPort: Int, name: String = "checkout") throws(ConfigurationError) {
        host = try settings.text("HOST", default: "127.0.0.1")
        port = try settings.integer("PORT", default: defaultPort, in: 0...65_535)
        operatorHost = try settings.text("OPERATOR_HOST", default: "127.0.0.1")
        operatorPort = try settings.integer("OPERATOR_PORT", default: defaultPort + 10, in: 0...65_535)
        dataDirectory = try settings.text("DATA_DIR", default: "./var")
        logLevel = try settings.choice("LOG_LEVEL", default: .info)
        backend = try settings.choice("IDEMPOTENCY_BACKEND", default: .file)
        storeMustExist = try settings.flag("STORE_MUST_EXIST", default: false)
        if storeMustExist, backend == .memory {
            throw ConfigurationError(
                "STORE_MUST_EXIST", "is true, but IDEMPOTENCY_BACKEND is memory, which keeps no store")
        }
        keyTimeToLive = try settings.seconds("IDEMPOTENCY_TTL_SECONDS", default: 86_400, in: 0.1...31_536_000)
        shutdownTimeout = try settings.seconds("SHUTDOWN_TIMEOUT_SECONDS", default: 30, in: 0...3600)
        tracing = try OTLPConfiguration(settings, service: name)
    }
}

extension Settings {
    /// Settings from the flags of a command: those that every service has, and its own.
    public init(_ common: ServiceOptions, _ own: [String: String?]) {
        self.init(flags: common.flags.merging(own) { $1 }.compactMapValues { $0 })
    }
}
