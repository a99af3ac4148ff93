import StrictJSON

extension TopReading {
    package var json: JSONValue {
        func number(_ value: Double?) -> JSONValue {
            guard let value, value.isFinite else { return .null }
            return .number(String((value * 1_000_000).rounded() / 1_000_000))
        }
        func object(_ values: [(String, JSONValue)]) -> JSONValue { .object(values.map { .init($0, $1) }) }
        return object([
            ("seconds", number(seconds)),
            ("checkoutsPerSecond", object(outcomes.sorted { $0.key < $1.key }.map { ($0, number($1)) })),
            ("p50Seconds", number(p50)), ("p99Seconds", number(p99)),
            ("sagas", object(sagas.sorted { $0.key < $1.key }.map { ($0, .number(String($1))) })),
            (
                "limbo",
                .array(
                    limbo.map {
                        object([
                            ("state", .string($0.state)), ("currency", .string($0.currency)),
                            ("amount", .number(String($0.minorUnits))),
                        ])
                    })
            ),
            ("breakers", object(breakers.sorted { $0.key < $1.key }.map { ($0, .string(Self.breaker($1))) })),
            (
                "providers",
                object(
                    providers.map { provider in
                        (
                            provider.name,
                            object([
                                ("breaker", .string(Self.breaker(provider.breaker))),
                                ("openPayments", .number(String(provider.open))),
                                ("overdueSeconds", number(provider.overdue)),
                            ])
                        )
                    })
            ),
            ("deadLetters", deadLetters.map { .number(String($0)) } ?? .null),
            ("ledgerBalanced", isLedgerBalanced.map { .bool($0) } ?? .null),
            ("retriesPerSecond", number(retries)), ("compensationsPerSecond", number(compensations)),
            (
                "services",
                object(
                    services.map { service in
                        (
                            service.name,
                            object([
                                ("up", .bool(service.isUp)),
                                ("unready", service.unready.map { .string($0) } ?? .null),
                                ("requestsPerSecond", number(service.requests)),
                                ("errorsPerSecond", number(service.errors)), ("p50Seconds", number(service.p50)),
                                ("p99Seconds", number(service.p99)),
                                ("transactionsPerSecond", number(service.transactions)),
                                ("storeP99Seconds", number(service.storeP99)),
                                ("storeFailuresPerSecond", number(service.storeFailures)),
                                ("storeFailure", service.storeFailure.map { .string($0) } ?? .null),
                                ("processor", number(service.processor)), ("memoryBytes", number(service.memory)),
                            ])
                        )
                    })
            ),
        ])
    }

    static func breaker(_ state: Int) -> String {
        switch state {
        case 0: "closed"
        case 1: "half open"
        default: "open"
        }
    }
}
