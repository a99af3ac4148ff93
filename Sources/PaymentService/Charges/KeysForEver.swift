import Storage

/// A key moves money once, whatever is forgotten of it elsewhere (decision 15): by unique indexes on the charges and
/// refunds themselves.
///
/// A charge whose key is its id needs none, as the id is unique: so are those of every checkout, which are not in the index. One
/// that was declined has taken nothing, and its key may be used again. What an older version has taken under one key a second
/// time is marked, since it cannot be undone here, and stays out.
enum KeysForEver {
    static let ofCharges =
        "operation_key <> charge_id AND status IN ('pending', 'succeeded') AND repeats_key = 0"
    static let ofRefunds = "repeats_key = 0"

    static let migration = Migration(
        "keys of charges and refunds for ever",
        """
        ALTER TABLE charges ADD COLUMN fingerprint BLOB;
        ALTER TABLE charges ADD COLUMN repeats_key INTEGER NOT NULL DEFAULT 0 CHECK (repeats_key IN (0, 1));
        UPDATE charges SET repeats_key = 1 WHERE charge_id IN (
            SELECT charge_id FROM (
                SELECT charge_id, row_number() OVER (
                    PARTITION BY user_id, operation_key ORDER BY created_at, charge_id) AS number
                FROM charges WHERE \(ofCharges))
            WHERE number > 1);
        CREATE UNIQUE INDEX charges_by_key ON charges (user_id, operation_key) WHERE \(ofCharges);

        ALTER TABLE refunds ADD COLUMN fingerprint BLOB;
        ALTER TABLE refunds ADD COLUMN repeats_key INTEGER NOT NULL DEFAULT 0 CHECK (repeats_key IN (0, 1));
        UPDATE refunds SET repeats_key = 1 WHERE refund_id IN (
            SELECT refund_id FROM (
                SELECT refund_id, row_number() OVER (
                    PARTITION BY user_id, operation_key ORDER BY created_at, refund_id) AS number
                FROM refunds)
            WHERE number > 1);
        CREATE UNIQUE INDEX refunds_by_key ON refunds (user_id, operation_key) WHERE \(ofRefunds);
        """)
}
