import ProviderAPI

extension PaymentWorker {
    /// What a worker is at.
    struct State {
        /// What is being asked about, by id.
        var inFlight: [String: Asking] = [:]
        var isFilling = false
        /// Whether somebody has asked for more while it was filling.
        var mustLookAgain = false
        /// Whether the last look found more than there was room for.
        var isHungry = false
        var isStopped = false
        var idlers: [CheckedContinuation<Void, Never>] = []

        /// Whether nothing is being asked about, nor taken up to be.
        var isIdle: Bool { inFlight.isEmpty && !isFilling }

        /// Those that have waited for this moment, if it is.
        mutating func takeIdlers() -> [CheckedContinuation<Void, Never>] {
            guard isIdle else { return [] }
            defer { idlers = [] }
            return idlers
        }

        func count(at provider: Provider) -> Int { inFlight.values.count { $0.provider == provider } }
    }

    struct Asking {
        let provider: Provider
        let epoch: Int64
    }

    /// What one look has brought.
    struct Taken {
        var payments: [Payment] = []
        /// Why others could not be read.
        var unreadable: [String] = []
        /// Whether a provider may have more that is due, and room for it.
        var mayBeMore = false
        /// Whether a provider may have more than there is room for.
        var isFull = false
    }
}
