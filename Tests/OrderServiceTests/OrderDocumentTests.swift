import TestSupport
import Testing

@Suite("Order's document")
struct OrderDocumentTests {
    @Test("every route is described, and nothing else is")
    func routes() async throws {
        let fixture = try OrderFixture()
        #expect(try await fixture.service.faultsOfDocuments(in: fixture.environment) == [])
    }
}
