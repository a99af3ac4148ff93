import StrictJSON

/// The entries of Payment's ledger as a whole. There is one record of this kind.
public struct LedgerEntry: AuditEntry {
    public static let service = AuditedService.payment
    public static let path = "/audit/ledger"

    /// How many entries there are.
    public let entries: Int64
    /// How many are missing, in another currency than their accounts, or of an account that is not there.
    public let faultyEntries: Int64

    public var id: String { "ledger" }

    /// A record.
    public init(entries: Int64, faultyEntries: Int64) {
        self.entries = entries
        self.faultyEntries = faultyEntries
    }

    public func write(to json: inout JSONWriter) {
        json.object { json in
            json.integer("entries", entries)
            json.integer("faultyEntries", faultyEntries)
        }
    }

    public init(json: JSONNode) throws(ValidationFailure) {
        var reader = try ObjectReader(json)
        let entries = reader.wholeNumber("entries")
        let faultyEntries = reader.wholeNumber("faultyEntries")
        try reader.finish()
        guard let entries, let faultyEntries else { throw ValidationFailure("#", "is not a ledger") }
        self.init(entries: entries, faultyEntries: faultyEntries)
    }
}
