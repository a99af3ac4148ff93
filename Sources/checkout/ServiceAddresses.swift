import ArgumentParser

/// Where the three services are, for the tools that ask all of them.
struct ServiceAddresses: ParsableArguments {
    @Option(
        help: ArgumentHelp("Address of Order (ORDER_BASE_URL; default http://127.0.0.1:3131).", valueName: "url"),
        transform: url)
    private var order: String?

    @Option(
        help: ArgumentHelp("Address of Stock (STOCK_BASE_URL; default http://127.0.0.1:3133).", valueName: "url"),
        transform: url)
    private var stock: String?

    @Option(
        help: ArgumentHelp("Address of Payment (PAYMENT_BASE_URL; default http://127.0.0.1:3132).", valueName: "url"),
        transform: url)
    private var payment: String?

    /// The address of each, from its flag, its environment variable or its default. - Throws: when a variable is not an address.
    func resolved() throws -> (order: String, stock: String, payment: String) {
        (
            try address(order, "ORDER_BASE_URL", 3131), try address(stock, "STOCK_BASE_URL", 3133),
            try address(payment, "PAYMENT_BASE_URL", 3132)
        )
    }
}
