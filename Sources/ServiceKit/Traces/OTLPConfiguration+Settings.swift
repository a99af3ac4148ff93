import Correlation
import Foundation
import OTLP
import ServiceClient

extension OTLPConfiguration {
    /// Reads OpenTelemetry's standard variables; those for traces win over the general ones, and an empty one counts as left out.
    ///
    /// - `OTEL_SDK_DISABLED` (false), `OTEL_TRACES_EXPORTER` (`otlp`, or `none`)
    /// - `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: the whole address; or `OTEL_EXPORTER_OTLP_ENDPOINT`, to which `v1/traces` is added
    /// - `OTEL_EXPORTER_OTLP[_TRACES]_HEADERS`: `name=value,…` with percent-encoded values
    /// - `OTEL_EXPORTER_OTLP[_TRACES]_TIMEOUT` (10000 ms), `OTEL_EXPORTER_OTLP[_TRACES]_PROTOCOL` (only `http/protobuf`)
    /// - `OTEL_SERVICE_NAME` (the service's name), `OTEL_RESOURCE_ATTRIBUTES`: `name=value,…`
    /// - `OTEL_TRACES_SAMPLER` (`parentbased_always_on`), `OTEL_TRACES_SAMPLER_ARG` (1)
    /// - `OTEL_BSP_SCHEDULE_DELAY` (5000 ms), `OTEL_BSP_EXPORT_TIMEOUT` (30000 ms), `OTEL_BSP_MAX_QUEUE_SIZE` (2048),
    ///   `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` (512)
    ///
    /// - Returns: nil when no endpoint is set, or traces are switched off.
    /// - Throws: `ConfigurationError` for a value that cannot be used, also while traces are off.
    init?(_ settings: Settings, service: String) throws(ConfigurationError) {
        let isDisabled = settings.optionalText("OTEL_SDK_DISABLED")?.lowercased() == "true"
        let exporter = try settings.word("OTEL_TRACES_EXPORTER", among: ["otlp", "none"], default: "otlp")
        let endpoint = try settings.tracesEndpoint()
        _ = try settings.word(
            settings.ofTraces("PROTOCOL"), among: ["http/protobuf"], default: "http/protobuf")
        let batch = try settings.integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", orDefault: 512, in: 1...65_536)
        self.init(
            endpoint: endpoint ?? "",
            headers: try settings.pairs(settings.ofTraces("HEADERS")).map { .init($0.name, $0.value) },
            timeout: try settings.milliseconds(settings.ofTraces("TIMEOUT"), default: 10_000, in: 1...600_000),
            resource: try settings.resource(service: service),
            sampler: try settings.sampler(),
            scheduleDelay: try settings.milliseconds("OTEL_BSP_SCHEDULE_DELAY", default: 5000, in: 1...600_000),
            exportTimeout: try settings.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", default: 30_000, in: 1...600_000),
            maximumQueue: try settings.integer("OTEL_BSP_MAX_QUEUE_SIZE", orDefault: 2048, in: 1...1_000_000),
            maximumBatch: batch)
        if isDisabled || exporter == "none" || endpoint == nil { return nil }
    }
}

extension Settings {
    /// The variable for traces if it is set, else the general one.
    fileprivate func ofTraces(_ name: String) -> String {
        let own = "OTEL_EXPORTER_OTLP_TRACES_\(name)"
        return optionalText(own) == nil ? "OTEL_EXPORTER_OTLP_\(name)" : own
    }

    fileprivate func tracesEndpoint() throws(ConfigurationError) -> String? {
        let name = ofTraces("ENDPOINT")
        guard let value = optionalText(name) else { return nil }
        let url = URLComponents(string: value)
        guard let url, url.scheme == "http" || url.scheme == "https", url.host?.isEmpty == false, url.query == nil,
            url.fragment == nil, url.user == nil, url.password == nil,
            url.port.map({ (1...65_535).contains($0) }) ?? true
        else {
            throw ConfigurationError(name, isNoAddress: value, suchAs: "http://127.0.0.1:4318")
        }
        guard name == "OTEL_EXPORTER_OTLP_ENDPOINT" else { return value }
        return value + (value.hasSuffix("/") ? "" : "/") + "v1/traces"
    }

    fileprivate func word(
        _ name: String, among words: [String], default defaultValue: String
    ) throws(ConfigurationError) -> String {
        let value = optionalText(name) ?? defaultValue
        guard words.contains(value) else {
            throw ConfigurationError(name, "is '\(value)', but must be \(words.joined(separator: " or "))")
        }
        return value
    }

    fileprivate func integer(
        _ name: String, orDefault defaultValue: Int, in range: ClosedRange<Int>
    ) throws(ConfigurationError) -> Int {
        optionalText(name) == nil ? defaultValue : try integer(name, default: defaultValue, in: range)
    }

    fileprivate func milliseconds(
        _ name: String, default defaultValue: Int, in range: ClosedRange<Int>
    ) throws(ConfigurationError) -> Duration {
        .milliseconds(try integer(name, orDefault: defaultValue, in: range))
    }

    /// `name=value,name=value`, values percent-encoded (the form of W3C Baggage). Faults are told without the value, which may be
    /// secret.
    fileprivate func pairs(_ name: String) throws(ConfigurationError) -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        for member in (optionalText(name) ?? "").split(separator: ",") {
            let halves = member.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard halves.count == 2, Self.isName(halves[0]), let value = halves[1].removingPercentEncoding,
                !value.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
            else {
                throw ConfigurationError(name, "must be name=value, with percent-encoded values, separated by commas")
            }
            pairs.append((halves[0], value))
        }
        return pairs
    }

    /// A token of HTTP (RFC 9110), which is also more than enough for the name of an attribute.
    private static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    /// Who makes the spans. What is set wins over what we know, and the service's name has a variable of its own that wins over that.
    fileprivate func resource(service: String) throws(ConfigurationError) -> [OTLPConfiguration.Attribute] {
        var attributes: [(name: String, value: String)] = [
            ("service.name", service), ("service.namespace", "checkout"), ("service.version", checkoutVersion),
            ("service.instance.id", UUID().uuidString.lowercased()),
            ("process.pid", String(ProcessInfo.processInfo.processIdentifier)),
            ("telemetry.sdk.name", "checkout"), ("telemetry.sdk.language", "swift"),
            ("telemetry.sdk.version", checkoutVersion),
        ]
        var set = try pairs("OTEL_RESOURCE_ATTRIBUTES")
        if let name = optionalText("OTEL_SERVICE_NAME") { set.append(("service.name", name)) }
        for (name, value) in set {
            attributes.removeAll { $0.name == name }
            attributes.append((name, value))
        }
        return attributes.map { .init($0.name, $0.value) }
    }

    fileprivate func sampler() throws(ConfigurationError) -> Sampler {
        let all = ["always_on", "always_off", "traceidratio"]
        let words = all + all.map { "parentbased_\($0)" }
        let word = try word("OTEL_TRACES_SAMPLER", among: words, default: "parentbased_always_on")
        let argument = "OTEL_TRACES_SAMPLER_ARG"
        let ratio = optionalText(argument) == nil ? 1 : try number(argument, default: 1, in: 0...1)
        let share: Double = word.hasSuffix("always_on") ? 1 : word.hasSuffix("always_off") ? 0 : ratio
        return Sampler(share: share, followsParent: word.hasPrefix("parentbased_"))
    }
}
