import TestSupport
import Testing

@Suite("Stock's document")
struct StockDocumentTests {
    @Test("every route is described, and nothing else is")
    func routes() async throws {
        let fixture = try StockFixture()
        #expect(try await fixture.service.faultsOfDocuments(in: fixture.test.environment) == [])
    }
}
