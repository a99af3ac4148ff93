extension ProblemKind {
    /// What the kind means and what a client does about it, for the document and for the page at the problem's `type`.
    public var meaning: String {
        switch self {
        case .invalidJSON:
            "The body is empty or not one JSON value. The detail says at which byte. Nothing was executed."
        case .invalidParameter: "A parameter of the query is unknown or has a value that it cannot have."
        case .userIDInvalid: "`X-User-ID` must be one value of 1 to 128 letters, digits or any of `. _ : @ -`."
        case .idempotencyKeyMissing:
            "This operation needs an `Idempotency-Key`: a name of the client's own for this command, the same on every retry."
        case .idempotencyKeyInvalid:
            """
            The key is empty, longer than 255 characters, sent twice, wrongly quoted, or has a space, a comma or a character \
            outside printable ASCII in it. It is not recorded.
            """
        case .badRequest: "The request is not well-formed HTTP."
        case .webhookSignatureInvalid:
            """
            The headers of the message are missing, its signature is none of the provider's, or it was signed more than five \
            minutes ago or in the future. Nothing was done.
            """
        case .paymentDeclined:
            """
            The provider declined, or there is too little in the account; `declineCode` says which. Nothing was taken, and the \
            goods go back into the stock.
            """
        case .notFound: "There is nothing at this path. Paths are exact: no slash at the end."
        case .itemNotFound: "The catalogue has no such item. Nothing was reserved."
        case .orderNotFound: "There is no order with this id, or it is another user's."
        case .reservationNotFound: "There is no reservation with this id."
        case .chargeNotFound: "There is no charge with this id, or it is another user's."
        case .accountNotFound: "There is no account with this id or in this currency, or it is another user's."
        case .paymentNotFound: "There is no payment with this id, or it is another user's."
        case .methodNotAllowed: "The path exists, but not with this method. `Allow` lists those that it has."
        case .requestTimeout: "The request took longer than 10 s to arrive. Its key is not recorded."
        case .requestInProgress:
            "The first request with this key is still at work. Send the same request again after `Retry-After` seconds."
        case .insufficientStock: "Less is available than was asked for. Nothing was reserved and nothing charged."
        case .orderStateConflict: "The order has ended; there is nothing to try again."
        case .orderWithdrawn:
            """
            The shop has taken the order back. You owe nothing: whatever was paid for it is given back. The key stands for that order \
            and answers the same for as long as it is remembered; a new order needs a new key.
            """
        case .planOutdated:
            "The record has changed since the plan was made, so it was not carried out. Nothing was done. Ask for a new plan."
        case .sagaUnderWay:
            "Somebody drives the checkout at this moment. It is put down soon, or ends: ask again then. Nothing was done."
        case .reservationStateConflict:
            "The reservation is in a final state that this command cannot change, its id was released before it was used, or is another user's."
        case .chargeStateConflict:
            "The charge is canceled or took no money, or its id was used for another charge."
        case .refundExceedsCharge: "What was refunded already and this refund together would be more than the charge."
        case .paymentStateConflict:
            "The payment is in a state in which this cannot be done: only a new one is canceled, only one that succeeded is given back."
        case .accountExists: "A user has one account in each currency, and has this one already. Nothing was deposited."
        case .balanceLimitExceeded: "The balance would be more than an amount of money can be. Nothing moved."
        case .paymentCanceled:
            "The payment was canceled before anything was taken: nothing was, and nothing ever will be under this reference."
        case .payloadTooLarge: "A body may have 64 KiB at the most."
        case .uriTooLong: "The request line may have 8 KiB at the most."
        case .unsupportedMediaType: "A body is sent as `application/json`, in UTF-8 and without a content coding."
        case .idempotencyKeyReused: "The key was used with another command. A new command needs a new key."
        case .validationFailed:
            "The JSON does not say what it must. `errors` lists each fault with a JSON Pointer to it. The key is not recorded."
        case .refundExceedsPayment:
            "What was given back already and this refund together would be more than the payment. Nothing was given back."
        case .tooManyRequests: "Wait `Retry-After` seconds and send the request again."
        case .headerFieldsTooLarge: "One header may have 8 KiB, and all of them together 32 KiB."
        case .internalError: "A fault of ours; the key makes a retry safe."
        case .badGateway:
            "A service behind this one answered nonsense or broke off. It may have acted: retry with the same key."
        case .storeUnavailable: "The service cannot write to its disk. Nothing was executed."
        case .draining: "The service is stopping. Nothing was executed."
        case .overloaded: "As much is under way as is allowed. Nothing was executed."
        case .serviceUnavailable: "The service is not available now: retry with the same key."
        case .deadlineExceeded: "The caller's own time was over before anything was executed."
        case .providerUnavailable: "The payment provider did not execute the command. No money moved."
        case .checkoutUnavailable:
            "The checkout could not be carried out. You owe nothing: what was taken is given back. Retry with the same key."
        case .ledgerCheckRunning:
            "The ledger is so long that the check takes longer than a request may wait. It goes on: ask again."
        case .outcomeUnknown:
            """
            Whether the money moved is not known yet. The work goes on by itself; the same request with the same key brings \
            its outcome. Do not use a new key.
            """
        case .gatewayTimeout: "A service behind this one did not answer in time. Retry with the same key."
        }
    }
}
