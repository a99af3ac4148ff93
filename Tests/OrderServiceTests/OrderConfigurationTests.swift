import Resilience
import ServiceKit
import Testing

@testable import OrderService

@Suite("Order's settings")
struct OrderConfigurationTests {
    private func configuration(_ settings: [String: String] = [:]) throws -> OrderConfiguration {
        try OrderConfiguration(Settings(flags: settings, environment: [:]))
    }

    @Test("without settings every value is its default")
    func defaults() throws {
        let configuration = try configuration()
        #expect(configuration.checkoutTimeout == .seconds(30))
        #expect(configuration.gatewayTimeout == .seconds(2))
        #expect(configuration.reservationTimeToLive == .seconds(900))
        #expect(configuration.leaseDuration == .seconds(10))
        #expect(configuration.parkAfterRounds == 8)
        #expect(configuration.parkedRetry == .seconds(60))
        #expect(configuration.breaker.failureRate == 0.5)
        #expect(configuration.breaker.minimumCalls == 20)
        #expect(configuration.breaker.consecutiveFailures == 10)
        #expect(configuration.breaker.openFor == .seconds(1))
        let built = OrderConfiguration()
        #expect(built.leaseDuration == configuration.leaseDuration)
        #expect(built.parkAfterRounds == configuration.parkAfterRounds)
        #expect(built.parkedRetry == configuration.parkedRetry)
        #expect(built.reservationTimeToLive == configuration.reservationTimeToLive)
        #expect(built.breaker.minimumCalls == configuration.breaker.minimumCalls)
        #expect(built.backoff.jitter == configuration.backoff.jitter)
    }

    @Test("every setting of sagas and breakers is read")
    func read() throws {
        let configuration = try configuration([
            "SAGA_LEASE_SECONDS": "2.5", "SAGA_PARK_AFTER_ROUNDS": "3", "SAGA_PARKED_RETRY_SECONDS": "7",
            "BREAKER_FAILURE_RATE": "0.25", "BREAKER_MIN_CALLS": "4", "BREAKER_CONSECUTIVE_FAILURES": "5",
            "BREAKER_OPEN_SECONDS": "0.75", "RESERVATION_TTL_SECONDS": "120",
        ])
        #expect(configuration.leaseDuration == .milliseconds(2500))
        #expect(configuration.parkAfterRounds == 3)
        #expect(configuration.parkedRetry == .seconds(7))
        #expect(configuration.breaker.failureRate == 0.25)
        #expect(configuration.breaker.minimumCalls == 4)
        #expect(configuration.breaker.consecutiveFailures == 5)
        #expect(configuration.breaker.openFor == .milliseconds(750))
        #expect(configuration.reservationTimeToLive == .seconds(120))
    }

    @Test(
        "a value out of range, or no number, is refused and names its setting",
        arguments: [
            ("SAGA_LEASE_SECONDS", ["0", "3601", "soon"]), ("SAGA_PARK_AFTER_ROUNDS", ["0", "1000001", "1.5", ""]),
            ("SAGA_PARKED_RETRY_SECONDS", ["0", "86401", "-1"]),
            ("BREAKER_FAILURE_RATE", ["0", "1.01", "half", "nan"]), ("BREAKER_MIN_CALLS", ["0", "100001"]),
            ("BREAKER_CONSECUTIVE_FAILURES", ["0", "100001"]), ("BREAKER_OPEN_SECONDS", ["0", "3601"]),
            ("RESERVATION_TTL_SECONDS", ["0", "86401"]),
        ])
    func refused(_ name: String, _ values: [String]) {
        for value in values {
            let error = #expect(throws: ConfigurationError.self) { try configuration([name: value]) }
            #expect(error?.name == name, "\(value)")
        }
    }

    @Test("goods must be held for longer than a checkout and two attempts may take (hazard 36)")
    func holding() throws {
        let times = ["CHECKOUT_TIMEOUT_SECONDS": "20", "GATEWAY_TIMEOUT_SECONDS": "5"]
        func configuration(_ timeToLive: String) throws -> OrderConfiguration {
            try self.configuration(times.merging(["RESERVATION_TTL_SECONDS": timeToLive]) { $1 })
        }
        let error = #expect(throws: ConfigurationError.self) { try configuration("30") }
        #expect(error?.name == "RESERVATION_TTL_SECONDS")
        #expect(error?.reason.contains("30") == true)
        #expect(try configuration("30.001").reservationTimeToLive == .milliseconds(30_001))
    }

    @Test("the longest wait is longer than any pause and any lease", arguments: ["0.001", "30", "3600"])
    func longestWait(_ cap: String) throws {
        let configuration = try configuration([
            "GATEWAY_BACKOFF_BASE_SECONDS": "600", "GATEWAY_BACKOFF_MAX_SECONDS": cap, "SAGA_LEASE_SECONDS": "100",
            "SAGA_PARKED_RETRY_SECONDS": "1",
        ])
        let base = configuration.backoff.base
        let longestPause = configuration.backoff.withJitter(base / 2).delay(afterAttempt: 1000)
        #expect(configuration.longestWait > longestPause)
        #expect(configuration.longestWait > configuration.leaseDuration)
        #expect(configuration.longestWait > configuration.parkedRetry)
    }
}
