import Storage

extension PlantedMistakes {
    /// Mistakes in what is written to the disks.
    static let statements: [Mistake] = [
        leftOut("no-tombstone", "A release of an unknown reservation leaves nothing behind.", .stock) {
            $0.sql.hasPrefix("INSERT INTO reservations") && $0.arguments[1] == "canceled"
        },
        rewritten(
            "stock-unchecked", "Goods are set aside without a look at what is there.", .stock,
            " AND on_hand - reserved >= ?1", ""
        ).with { $0.ignoresConstraints = true },
        rewritten(
            "settled-twice", "A reservation is released or completed whatever its status.", .stock,
            "WHERE reservation_id = ? AND status = 'reserved'", "WHERE reservation_id = ?"),
        rewritten(
            "completed-after-release", "A canceled reservation can still be completed.", .stock,
            "WHERE reservation_id = ? AND status = 'reserved'",
            "WHERE reservation_id = ? AND status <> 'completed'"),
        leftOut("refusal-not-remembered", "Stock does not remember which reservations it has refused.", .stock) {
            $0.sql.hasPrefix("INSERT INTO refused_reservations")
        },
        leftOut("goods-not-given-back", "A release settles the reservation and forgets the goods.", .stock) {
            $0.sql.hasPrefix("UPDATE items SET reserved = reserved - ?")
        },
        leftOut("goods-do-not-leave", "A complete settles the reservation and forgets the goods.", .stock) {
            $0.sql.hasPrefix("UPDATE items SET on_hand = on_hand - ?1")
        },
        leftOut("no-charge-tombstone", "A canceled charge leaves nothing behind.", .payment) {
            $0.sql.hasPrefix("INSERT INTO charges") && $0.arguments[6] == "canceled"
        },
        leftOut("intent-of-charge-not-stored", "The provider is asked for a charge that is not stored.", .payment) {
            $0.sql.hasPrefix("INSERT INTO charges") && $0.arguments[6] == "pending"
        },
        leftOut("refund-not-counted", "A refund is stored and not counted at its charge.", .payment) {
            $0.sql.hasPrefix("UPDATE charges SET refunded = refunded + ?1")
        },
        leftOut("dropped-charge-stays", "A charge of which nothing was taken stays pending.", .payment) {
            $0.sql.hasPrefix("DELETE FROM charges")
        },
        leftOut("answer-of-provider-not-stored", "The provider's yes is answered and not stored.", .payment) {
            $0.sql.hasPrefix("UPDATE charges SET status")
        },
        leftOut("charge-not-posted", "A charge is stored and not entered into the ledger.", .payment) {
            $0.sql.hasPrefix("INSERT INTO ledger_entries") && $0.arguments[1] == "charge"
        },
        leftOut("refund-not-posted", "A refund is stored and not entered into the ledger.", .payment) {
            $0.sql.hasPrefix("INSERT INTO ledger_entries") && $0.arguments[1] == "refund"
        },
        leftOut("event-not-recorded", "What becomes of a charge is not written into its trail.", .payment) {
            $0.sql.hasPrefix("INSERT INTO payment_events")
        },
        rewritten(
            "wallet-unchecked", "A wallet pays whatever is in it.", .payment, "currency, balance_high, balance_low",
            "currency, 1000000, balance_low"
        ).with { $0.ignoresConstraints = true },
        rewritten(
            "wallet-of-another", "The first wallet there is pays for everyone.", .payment,
            "FROM accounts WHERE user_id = ? AND currency = ?",
            "FROM accounts WHERE ifnull(?, '') <> ?1 || 'x' AND kind = 'wallet' AND currency = ?"),
        leftOut("order-not-stored", "The order is not stored before the first call.", .order) {
            $0.sql.hasPrefix("INSERT INTO orders")
        },
        leftOut("completion-not-stored", "A completed order is answered and not stored.", .order) {
            $0.sql.hasPrefix("UPDATE orders SET status") && $0.arguments[0] == "completed"
        },
        leftOut("failure-not-stored", "A failed order is answered and not stored.", .order) {
            $0.sql.hasPrefix("UPDATE orders SET status") && $0.arguments[0] == "failed"
        },
        leftOut("way-back-not-stored", "The decision to release is acted upon and not stored.", .order) {
            isSave($0, of: "releasing")
        },
        otherUndo("refund-not-stored", "That the money is to be given back after the release is not stored.", "refund"),
        otherUndo("cancel-not-stored", "That the charge is to be canceled after the release is not stored.", "cancel"),
        Mistake("epoch-unchecked", "An owner who has lost its saga can still write it.").with {
            $0.statement = { statement in
                var statement = statement
                guard statement.role == .order, statement.sql.hasPrefix("UPDATE orders SET status") else {
                    return statement
                }
                statement.sql = statement.sql.replacing(" AND epoch = ?", with: "")
                statement.arguments.removeLast()
                return statement
            }
        },
        Mistake("end-overwritten", "An order that has ended can be written again.").with {
            $0.statement = { statement in
                var statement = statement
                guard statement.role == .order, statement.sql.hasPrefix("UPDATE orders SET status") else {
                    return statement
                }
                statement.sql = statement.sql.replacing(" AND status = 'pending' AND epoch = ?", with: "")
                statement.arguments.removeLast()
                return statement
            }
        },
        Mistake("takeover-without-new-epoch", "Who takes a saga over does not store its epoch.").with {
            $0.statement = { statement in
                var statement = statement
                guard statement.role == .order, statement.sql.hasPrefix("UPDATE orders SET owner = ?, epoch = ?") else {
                    return statement
                }
                statement.arguments[1] = statement.arguments[5]
                return statement
            }
        },
        Mistake("key-not-claimed", "Order executes whether or not a key has been used.").with {
            $0.statement = { statement in
                var statement = statement
                guard statement.role == .order, statement.sql.hasPrefix("INSERT INTO orders") else { return statement }
                statement.sql = statement.sql.replacing(
                    "?) ON CONFLICT (operation_key, user_id, attempt) DO NOTHING", with: "?)")
                // The number that is free.
                statement.sql = statement.sql.replacing(
                    "VALUES (?, ?, ?, ?, ?,",
                    with: "VALUES (?, ?, ?, ?4, (SELECT count(*) + ?5 FROM orders WHERE operation_key = ?4),")
                return statement
            }
        },
        Mistake("key-without-user", "Equal keys of two users are one key.").with {
            $0.statement = { statement in
                var statement = statement
                guard statement.role == .order else { return statement }
                if statement.sql.hasPrefix("INSERT INTO orders") {
                    statement.sql = statement.sql.replacing("VALUES (", with: "SELECT ")
                    statement.sql = statement.sql.replacing(
                        "?) ON CONFLICT (operation_key, user_id, attempt) DO NOTHING",
                        with: "? WHERE NOT EXISTS (SELECT * FROM orders WHERE operation_key = ?4 AND attempt >= ?5)")
                } else if statement.sql.hasPrefix("SELECT saga, operation_key"), statement.arguments.count == 2,
                    statement.sql.contains(" AND user_id = ? ORDER BY attempt")
                {
                    statement.sql = statement.sql.replacing(" AND user_id = ?", with: "")
                    statement.arguments.removeLast()
                }
                return statement
            }
        },
    ]

    private static func isSave(_ statement: SQLStatement, of step: String) -> Bool {
        guard statement.sql.hasPrefix("UPDATE orders SET status"), case .text(let saga) = statement.arguments[1] else {
            return false
        }
        return saga.contains("\"name\":\"\(step)\"")
    }

    private static func otherUndo(_ name: String, _ sentence: String, _ undo: String) -> Mistake {
        Mistake(name, sentence).with {
            $0.statement = { statement in
                var statement = statement
                guard isSave(statement, of: "releasing"), case .text(let saga) = statement.arguments[1] else {
                    return statement
                }
                statement.arguments[1] = .text(saga.replacing("\"then\":\"\(undo)\"", with: "\"then\":\"nothing\""))
                return statement
            }
        }
    }

    static func leftOut(
        _ name: String, _ sentence: String, _ role: Node.Role, _ condition: @escaping @Sendable (SQLStatement) -> Bool
    ) -> Mistake {
        Mistake(name, sentence).with { mistake in
            mistake.statement = { $0.role == role && condition($0) ? nil : $0 }
        }
    }

    static func rewritten(
        _ name: String, _ sentence: String, _ role: Node.Role, _ part: String, _ other: String
    ) -> Mistake {
        Mistake(name, sentence).with { mistake in
            mistake.statement = { statement in
                var statement = statement
                guard statement.role == role, statement.sql.contains(part) else { return statement }
                statement.sql = statement.sql.replacing(part, with: other)
                return statement
            }
        }
    }
}
