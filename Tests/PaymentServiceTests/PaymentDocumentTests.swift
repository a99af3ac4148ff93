import TestSupport
import Testing

@Suite("Payment's document")
struct PaymentDocumentTests {
    @Test("every route is described, and nothing else is")
    func routes() async throws {
        let fixture = try PaymentFixture.simulated()
        #expect(try await fixture.service.faultsOfDocuments(in: fixture.environment) == [])
    }
}
