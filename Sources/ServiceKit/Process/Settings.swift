import Configuration
import Foundation
import Resilience

/// A setting that is missing or has a value that the service will not run with (OP-05, exit code 78).
public struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    /// The environment variable's name; the flag is the same in lower case with dashes.
    public let name: String
    /// What is wrong with it.
    public let reason: String

    /// A fault of a setting.
    public init(_ name: String, _ reason: String) {
        self.name = name
        self.reason = reason
    }

    /// A setting that should be an address. Its value is not repeated where a user and a password may stand in it (OP-03).
    public init(_ name: String, isNoAddress value: String, suchAs example: String) {
        self.init(
            name,
            value.contains("@")
                ? "must be an address such as \(example), without a user or a password in it"
                : "is '\(value)', but must be an address such as \(example)")
    }

    public var description: String { "\(name): \(reason)" }
}

/// The service's settings: flags win over the environment, the environment over defaults. Every value is read as text and
/// checked here, so that one that cannot be used is reported and never silently replaced by the default.
public struct Settings: Sendable {
    private let reader: ConfigReader

    /// Settings from flags and an environment.
    ///
    /// - Parameter flags: values given on the command line by the name of their environment variable.
    public init(flags: [String: String], environment: [String: String] = ProcessInfo.processInfo.environment) {
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, value) in flags {
            values[AbsoluteConfigKey(Self.components(of: name))] = ConfigValue(.string(value), isSecret: false)
        }
        reader = ConfigReader(providers: [
            InMemoryProvider(name: "flags", values: values),
            EnvironmentVariablesProvider(environmentVariables: environment),
        ])
    }

    /// `CHECKOUT_TIMEOUT_SECONDS` is the key `checkout.timeout.seconds`, which the environment's provider spells back.
    private static func components(of name: String) -> [String] {
        name.lowercased().split(separator: "_").map(String.init)
    }

    /// A text that is not empty, or the default.
    public func text(_ name: String, default defaultValue: String) throws(ConfigurationError) -> String {
        guard let value = reader.string(forKey: ConfigKey(Self.components(of: name))) else { return defaultValue }
        guard !value.isEmpty else { throw ConfigurationError(name, "is empty; leave it out or give a value") }
        return value
    }

    /// A text, or nil without one. Empty counts as left out, as OpenTelemetry wants it for its variables.
    public func optionalText(_ name: String) -> String? {
        reader.string(forKey: ConfigKey(Self.components(of: name))).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// One of a few words, or the default.
    public func choice<T: RawRepresentable & CaseIterable>(
        _ name: String, default defaultValue: T
    ) throws(ConfigurationError) -> T where T.RawValue == String {
        let value = try text(name, default: defaultValue.rawValue)
        guard let choice = T(rawValue: value) else {
            let words = T.allCases.map(\.rawValue).joined(separator: ", ")
            throw ConfigurationError(name, "is '\(value)', but must be one of \(words)")
        }
        return choice
    }

    /// True or false, or the default.
    public func flag(_ name: String, default defaultValue: Bool) throws(ConfigurationError) -> Bool {
        switch try text(name, default: defaultValue ? "true" : "false") {
        case "true": return true
        case "false": return false
        case let value: throw ConfigurationError(name, "is '\(value)', but must be true or false")
        }
    }

    /// A whole number within a range, or the default.
    public func integer(
        _ name: String, default defaultValue: Int, in range: ClosedRange<Int>
    ) throws(ConfigurationError) -> Int {
        let value = try text(name, default: String(defaultValue))
        guard let number = Int(value), range.contains(number) else {
            throw ConfigurationError(
                name, "is '\(value)', but must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A duration in seconds, whole or decimal, within a range, or the default. Kept to the millisecond.
    public func seconds(
        _ name: String, default defaultValue: Double, in range: ClosedRange<Double>
    ) throws(ConfigurationError) -> Duration {
        let number = try decimal(name, default: defaultValue, in: range, "number of seconds")
        return .milliseconds(Int64((number * 1000).rounded()))
    }

    private func decimal(
        _ name: String, default defaultValue: Double, in range: ClosedRange<Double>, _ noun: String
    ) throws(ConfigurationError) -> Double {
        let value = try text(name, default: String(defaultValue))
        // `Double` would take hexadecimal digits too.
        let isDecimal = value.utf8.allSatisfy { "0123456789.eE+-".utf8.contains($0) }
        guard isDecimal, let number = Double(value), range.contains(number) else {
            throw ConfigurationError(
                name, "is '\(value)', but must be a \(noun) from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A decimal number within a range, or the default.
    public func number(
        _ name: String, default defaultValue: Double, in range: ClosedRange<Double>
    ) throws(ConfigurationError) -> Double {
        try decimal(name, default: defaultValue, in: range, "number")
    }

    /// The address of another service: `http` or `https`, without a path unless it may have one, or the default. Without a slash
    /// at the end.
    public func baseURL(
        _ name: String, default defaultValue: String, mayHavePath: Bool = false
    ) throws(ConfigurationError) -> String {
        var value = try text(name, default: defaultValue)
        if value.hasSuffix("/") { value.removeLast() }
        guard Self.isAddress(value, mayHavePath: mayHavePath) else {
            throw ConfigurationError(name, isNoAddress: value, suchAs: defaultValue)
        }
        return value
    }

    /// Whether a text is the address of a server, without a user, a query or a fragment in it.
    public static func isAddress(_ value: String, mayHavePath: Bool) -> Bool {
        let url = URLComponents(string: value)
        let isPlain = url?.user == nil && url?.password == nil && url?.query == nil && url?.fragment == nil
        guard let url, isPlain, url.scheme == "http" || url.scheme == "https", url.host?.isEmpty == false else {
            return false
        }
        let hasGoodPort = url.port.map { (1...65_535).contains($0) } ?? !value.hasSuffix(":")
        return hasGoodPort && (mayHavePath || url.path.isEmpty)
    }
}
