import Correlation
import OTLP
import ServiceClient
import Testing

@testable import ServiceKit

@Suite("OpenTelemetry's variables")
struct OTLPConfigurationTests {
    private func read(_ environment: [String: String]) throws -> OTLPConfiguration? {
        try OTLPConfiguration(Settings(flags: [:], environment: environment), service: "order")
    }

    private func on(_ more: [String: String] = [:]) throws -> OTLPConfiguration {
        try #require(try read(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"].merging(more) { $1 }))
    }

    private func resource(_ more: [String: String] = [:]) throws -> [String: String] {
        Dictionary(uniqueKeysWithValues: try on(more).resource.map { ($0.name, $0.value) })
    }

    @Test(
        "without an endpoint, or switched off, nothing is recorded",
        arguments: [
            [:], ["OTEL_EXPORTER_OTLP_ENDPOINT": ""],
            ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"],
            ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"],
            ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"],
        ])
    func off(environment: [String: String]) throws {
        #expect(try read(environment) == nil)
    }

    @Test("the defaults are the standard's")
    func defaults() throws {
        let configuration = try on()
        #expect(configuration.endpoint == "http://collector:4318/v1/traces")
        #expect(configuration.headers.isEmpty)
        #expect(configuration.timeout == .seconds(10))
        #expect(configuration.sampler == .parentBasedAlwaysOn)
        #expect(configuration.scheduleDelay == .seconds(5))
        #expect(configuration.exportTimeout == .seconds(30))
        #expect(configuration.maximumQueue == 2048)
        #expect(configuration.maximumBatch == 512)
    }

    @Test(
        "the general address is a base, the one for traces is whole, and wins",
        arguments: [
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/"], "http://c:1/v1/traces"),
            (["OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/base"], "https://c/base/v1/traces"),
            (["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/mine"], "http://c/mine"),
            (
                ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:4318/t"],
                "http://b:4318/t"
            ),
            (
                ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""],
                "http://a/v1/traces"
            ),
        ])
    func endpoint(environment: [String: String], expected: String) throws {
        #expect(try read(environment)?.endpoint == expected)
    }

    @Test("headers are percent-decoded; those for traces take the place of the others")
    func headers() throws {
        let all = try on(["OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b%3D, x = 1=2 ,"])
        #expect(all.headers == [.init("api-key", "a b="), .init("x", "1=2")])
        let own = try on(["OTEL_EXPORTER_OTLP_HEADERS": "a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2"])
        #expect(own.headers == [.init("b", "2")])
    }

    @Test("times are milliseconds, and sizes are spans")
    func limits() throws {
        let configuration = try on([
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1500", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "250",
            "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BSP_EXPORT_TIMEOUT": "2000", "OTEL_BSP_MAX_QUEUE_SIZE": "20",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "30",
        ])
        #expect(configuration.timeout == .milliseconds(250))
        #expect(configuration.scheduleDelay == .milliseconds(100))
        #expect(configuration.exportTimeout == .seconds(2))
        #expect(configuration.maximumQueue == 20)
        // Never more than can wait.
        #expect(configuration.maximumBatch == 20)
    }

    @Test(
        "samplers have the standard's names",
        arguments: [
            ("always_on", nil, 1, false), ("always_off", nil, 0, false), ("traceidratio", "0.25", 0.25, false),
            ("parentbased_always_on", nil, 1, true), ("parentbased_always_off", nil, 0, true),
            ("parentbased_traceidratio", "0.5", 0.5, true), ("traceidratio", nil, 1, false), ("", "0.5", 1, true),
        ] as [(String, String?, Double, Bool)])
    func samplers(word: String, argument: String?, share: Double, followsParent: Bool) throws {
        let configuration = try on(["OTEL_TRACES_SAMPLER": word, "OTEL_TRACES_SAMPLER_ARG": argument ?? ""])
        #expect(configuration.sampler == Sampler(share: share, followsParent: followsParent))
    }

    @Test("a resource says who makes the spans, and what is set wins")
    func resources() throws {
        let own = try resource()
        #expect(own["service.name"] == "order")
        #expect(own["service.namespace"] == "checkout")
        #expect(own["service.version"] == checkoutVersion)
        #expect(own["service.instance.id"]?.isEmpty == false)
        #expect(own["telemetry.sdk.language"] == "swift")
        let set = try resource([
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,service.namespace=shop%2Ceu,deployment.environment.name=test",
            "OTEL_SERVICE_NAME": "b",
        ])
        #expect(set["service.name"] == "b")
        #expect(set["service.namespace"] == "shop,eu")
        #expect(set["deployment.environment.name"] == "test")
        #expect(try resource(["OTEL_RESOURCE_ATTRIBUTES": "service.name=a"])["service.name"] == "a")
    }

    @Test(
        "a bad value refuses to start and names its variable, also when an endpoint is not set (OP-05)",
        arguments: [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@c"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no-value"), ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0d%0ab"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"), ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"), ("OTEL_TRACES_SAMPLER_ARG", "half"),
            ("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "x"), ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "1e9"),
        ])
    func bad(name: String, value: String) throws {
        let error = try #require(throws: ConfigurationError.self) { try read([name: value]) }
        #expect(error.name == name)
        // Headers may be secret.
        if name.hasSuffix("HEADERS") { #expect(!error.reason.contains(value)) }
    }
}
