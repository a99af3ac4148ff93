import Idempotency
import Money
import MoneyJSON
import Resilience
import Storage
import StrictJSON

/// The deposits, withdrawals and transfers that clients have made, inside the caller's transaction. A key makes one of a kind for
/// ever, whatever is forgotten of it elsewhere: that is a constraint of the schema.
struct Movements {
    let transaction: any Transaction

    struct Earlier {
        let fingerprint: Fingerprint
        let response: StoredResponse
    }

    /// What the key has moved before.
    func find(_ scope: IdempotencyScope) throws -> Earlier? {
        try transaction.first(
            "SELECT fingerprint, status, receipt FROM movements WHERE user_id = ? AND type = ? AND operation_key = ?",
            [.text(scope.user), .text(scope.operation), .text(scope.key.value)]
        ) { row in
            Earlier(
                fingerprint: Fingerprint(bytes: row.blob(0)),
                response: StoredResponse(status: Int(row.integer(1)), body: row.blob(2)))
        }
    }

    func insert(
        _ id: String, _ type: PostingType, _ scope: IdempotencyScope, _ fingerprint: Fingerprint,
        _ response: StoredResponse, at now: Timestamp
    ) throws {
        try transaction.run(
            """
            INSERT INTO movements
                (movement_id, type, user_id, operation_key, fingerprint, status, receipt, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                .text(id), .text(type.rawValue), .text(scope.user), .text(scope.key.value), .blob(fingerprint.bytes),
                .integer(Int64(response.status)), .blob(response.body), .integer(now.milliseconds),
            ])
    }
}

/// The answer to a deposit or a withdrawal.
struct MovementReceipt {
    let id: String
    let type: PostingType
    let amount: Money
    let wallet: Wallet
    let change: Int64
    let at: Timestamp

    /// - Parameters:
    ///   - wallet: as it was before.
    ///   - change: what was added to it, in minor units.
    init(_ id: String, _ type: PostingType, _ amount: Money, _ wallet: Wallet, adding change: Int64, _ at: Timestamp) {
        self.id = id
        self.type = type
        self.amount = amount
        self.wallet = wallet
        self.change = change
        self.at = at
    }

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("transactionId", id)
                json.string("type", type.rawValue)
                json.string("accountId", wallet.id)
                json.money("amount", amount)
                json.balance(wallet.balance + Int128(change), amount.currency)
                json.string("createdAt", at.description)
            }
        }
    }
}

/// The answer to a transfer.
struct TransferReceipt {
    let id: String
    let request: TransferRequest
    let at: Timestamp

    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("transferId", id)
                json.string("status", "completed")
                json.string("sourceAccountId", request.sourceID)
                json.string("destinationAccountId", request.destinationID)
                json.money("amount", request.amount)
                json.string("createdAt", at.description)
            }
        }
    }
}

extension Wallet {
    /// The account as its owner sees it.
    func json() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("accountId", id)
                json.string("userId", user)
                json.string("currency", currency.code)
                json.balance(balance, currency)
                json.integer("version", version)
                json.string("createdAt", createdAt.description)
            }
        }
    }

    /// Only what is in it.
    func balanceJSON() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.string("accountId", id)
                json.balance(balance, currency)
                json.integer("version", version)
            }
        }
    }
}

extension WalletEntry {
    func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("entry", number)
            json.string("transactionId", transactionID)
            json.string("type", type)
            json.money("change", change)
            json.string("at", at.description)
        }
    }
}

extension JSONWriter {
    /// A balance, which may be more than an amount can have.
    fileprivate mutating func balance(_ minorUnits: Int128, _ currency: Currency) {
        object("balance") { json in
            json.integer("amount", minorUnits)
            json.string("currency", currency.code)
        }
    }
}
