import OrderService
import PaymentAPI
import PaymentService
import ServiceClient
import StockAPI

/// A way in which a run differs from the real system: none, or one planted mistake. Each changes what passes a seam that
/// production code has anyway: its statements, its messages, its clients, its provider, its decisions about sagas and
/// keys, its settings.
struct Mistake: Sendable {
    /// For example `no-tombstone`.
    let name: String
    /// What is done wrong.
    let sentence: String
    /// Changes a statement, or leaves it out with nil: it then seems to have changed one row, or found none.
    var statement: (@Sendable (SQLStatement) -> SQLStatement?)?
    /// Changes a request before it is sent.
    var request: (@Sendable (inout ServiceRequest, Incarnation) -> Void)?
    /// Changes what comes of a request.
    var outcome: (@Sendable (ServiceRequest, Network.Outcome, Incarnation) -> Network.Outcome)?
    /// Stands in front of Order's client of Stock.
    var stock: (@Sendable (any StockClient) -> any StockClient)?
    /// Stands in front of Order's client of Payment.
    var payment: (@Sendable (any PaymentClient) -> any PaymentClient)?
    /// Stands in front of the provider.
    var provider: (@Sendable (any CardProvider) -> any CardProvider)?
    /// Stands in front of the outside providers of payments.
    var gateway: (@Sendable (any ProviderGateway) -> any ProviderGateway)?
    /// Decides instead of the saga.
    var decide: SagaDecision?
    /// Decides instead of the order under a used key.
    var decideOnKey: KeyDecision?
    /// Changes the settings.
    var deployment: (@Sendable (inout Deployment) -> Void)?
    /// What a request without an answer ends with, if not as it should.
    var timeout: TransportError?
    /// Whether Order goes on before its writes are durable.
    var acknowledgesEarly = false
    /// Whether the schema has lost its rules as well.
    var ignoresConstraints = false

    /// Whether a statement was changed or left out: else the mistake looks for a text that no statement has any more.
    let wasMade = Cell(false)

    init(_ name: String, _ sentence: String) {
        self.name = name
        self.sentence = sentence
    }

    /// The system as it is.
    static let none = Mistake("none", "Nothing is wrong.")

    /// The same mistake with more of it.
    func with(_ change: (inout Mistake) -> Void) -> Mistake {
        var mistake = self
        change(&mistake)
        return mistake
    }
}
