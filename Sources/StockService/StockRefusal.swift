/// Why Stock says no. Nothing has changed by a command that is refused.
public struct StockRefusal: Error, Equatable, Sendable {
    /// The kinds of refusal; the raw value is the problem's code.
    public enum Code: String, Sendable {
        /// A line names an item that does not exist.
        case itemNotFound = "item-not-found"
        /// A line asks for more than is available.
        case insufficientStock = "insufficient-stock"
        /// No reservation has this id.
        case reservationNotFound = "reservation-not-found"
        /// The reservation is in a final state that the command cannot change.
        case stateConflict = "reservation-state-conflict"
        /// The reservation's id was used for other lines.
        case idReused = "idempotency-key-reused"
        /// The command cannot be carried out as it stands: the total overflows, or the currencies differ.
        case invalid = "validation-failed"
    }

    /// What kind.
    public let code: Code
    /// What exactly, for a person.
    public let detail: String
    /// The member at fault, for `invalid`.
    public let pointer: String

    /// Whether the command was refused for what it is, and not for how things stand: then its key is not recorded (IK-17).
    var leavesKeyFree: Bool { code == .invalid || code == .idReused }

    init(_ code: Code, _ detail: String, pointer: String = "#") {
        self.code = code
        self.detail = detail
        self.pointer = pointer
    }
}
