import ArgumentParser
import Resilience
import ServiceKit
import Testing

@Suite("Service configuration")
struct ServiceConfigurationTests {
    private func configuration(
        flags: [String: String] = [:], _ environment: [String: String] = [:]
    ) throws -> ServiceConfiguration {
        try ServiceConfiguration(Settings(flags: flags, environment: environment), defaultPort: 3133)
    }

    @Test("without any setting the defaults of the contract hold")
    func defaults() throws {
        let configuration = try configuration()
        #expect(configuration.host == "127.0.0.1")
        #expect(configuration.port == 3133)
        #expect(configuration.operatorHost == "127.0.0.1")
        #expect(configuration.operatorPort == 3143)
        #expect(configuration.dataDirectory == "./var")
        #expect(configuration.logLevel == .info)
        #expect(configuration.backend == .file)
        #expect(!configuration.storeMustExist)
        #expect(configuration.keyTimeToLive == .seconds(86_400))
        #expect(configuration.shutdownTimeout == .seconds(30))
    }

    @Test("each setting is read from its variable")
    func environment() throws {
        let configuration = try configuration([
            "HOST": "0.0.0.0", "PORT": "0", "OPERATOR_HOST": "::1", "OPERATOR_PORT": "4000", "DATA_DIR": "/data",
            "LOG_LEVEL": "debug", "IDEMPOTENCY_BACKEND": "memory",
            "IDEMPOTENCY_TTL_SECONDS": "0.5", "SHUTDOWN_TIMEOUT_SECONDS": "5",
        ])
        #expect(configuration.host == "0.0.0.0")
        #expect(configuration.port == 0)
        #expect(configuration.operatorHost == "::1")
        #expect(configuration.operatorPort == 4000)
        #expect(configuration.dataDirectory == "/data")
        #expect(configuration.logLevel == .debug)
        #expect(configuration.backend == .memory)
        #expect(configuration.keyTimeToLive == .milliseconds(500))
        #expect(configuration.shutdownTimeout == .seconds(5))
    }

    @Test(
        "a bad value refuses to start and names its variable (OP-05)",
        arguments: [
            ("HOST", ""), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "http"), ("DATA_DIR", ""),
            ("OPERATOR_HOST", ""), ("OPERATOR_PORT", "65536"),
            ("LOG_LEVEL", "verbose"),
            ("LOG_LEVEL", "INFO"), ("IDEMPOTENCY_BACKEND", "redis"), ("STORE_MUST_EXIST", "yes"),
            ("IDEMPOTENCY_TTL_SECONDS", "0"),
            ("IDEMPOTENCY_TTL_SECONDS", "31536001"), ("IDEMPOTENCY_TTL_SECONDS", "1d"),
            ("SHUTDOWN_TIMEOUT_SECONDS", "-1"), ("SHUTDOWN_TIMEOUT_SECONDS", "3601"),
        ])
    func badValue(name: String, value: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try configuration([name: value]) }
        #expect(error.name == name)
        #expect(error.description.hasPrefix("\(name): "))
    }

    @Test("a store that must exist is one in a file")
    func storeMustExist() throws {
        #expect(try configuration(["STORE_MUST_EXIST": "true"]).storeMustExist)
        let error = try #require(throws: ConfigurationError.self) {
            try configuration(["STORE_MUST_EXIST": "true", "IDEMPOTENCY_BACKEND": "memory"])
        }
        #expect(error.name == "STORE_MUST_EXIST")
    }

    @Test("each flag stands for its variable and wins over it")
    func flags() throws {
        let options = try ServiceOptions.parse([
            "--host", "h", "--port", "1", "--data-dir", "d", "--log-level", "error", "--idempotency-backend", "memory",
            "--idempotency-ttl-seconds", "2", "--shutdown-timeout-seconds", "3", "--store-must-exist", "false",
        ])
        let flags = options.flags.compactMapValues { $0 }
        #expect(
            flags == [
                "HOST": "h", "PORT": "1", "DATA_DIR": "d", "LOG_LEVEL": "error", "IDEMPOTENCY_BACKEND": "memory",
                "IDEMPOTENCY_TTL_SECONDS": "2", "SHUTDOWN_TIMEOUT_SECONDS": "3", "STORE_MUST_EXIST": "false",
            ])
        let configuration = try configuration(flags: flags, ["PORT": "2", "LOG_LEVEL": "nonsense"])
        #expect(configuration.port == 1)
        #expect(configuration.logLevel == .error)
    }

    @Test("a flag that is not given says nothing, and a command's own flags join the common ones")
    func flagsNotGiven() throws {
        let options = try ServiceOptions.parse(["--port", "7"])
        #expect(options.flags.compactMapValues { $0 } == ["PORT": "7"])
        let settings = Settings(options, ["STOCK_BASE_URL": "http://stock", "PAYMENT_BASE_URL": nil])
        #expect(try settings.integer("PORT", default: 1, in: 0...9) == 7)
        #expect(try settings.baseURL("STOCK_BASE_URL", default: "http://d") == "http://stock")
    }
}
