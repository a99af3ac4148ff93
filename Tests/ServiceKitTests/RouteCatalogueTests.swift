import Hummingbird
import Testing

@testable import ServiceKit

@Suite("Route catalogue")
struct RouteCatalogueTests {
    private let routes: RouteCatalogue

    init() {
        var routes = RouteCatalogue()
        routes.get("/items") { _, _ in Response(status: .ok) }
        routes.get("/items/:id") { _, _ in Response(status: .ok) }
        routes.put("/items/:id") { _, _ in Response(status: .ok) }
        routes.post("/items/:id/restock") { _, _ in Response(status: .ok) }
        routes.post("/reserve") { _, _ in Response(status: .ok) }
        self.routes = routes
    }

    @Test(
        "the methods of a path are those of all its routes, with HEAD beside GET (HT-09, HT-11)",
        arguments: [
            ("/items", ["GET", "HEAD"]), ("/items/1", ["GET", "HEAD", "PUT"]),
            ("/items/restock", ["GET", "HEAD", "PUT"]),
            ("/items/1/restock", ["POST"]), ("/reserve", ["POST"]),
        ])
    func methods(path: String, methods: [String]) {
        #expect(routes.methods(at: path) == methods)
    }

    @Test(
        "a path without a route has no methods",
        arguments: [
            "", "/", "/item", "/itemsX", "/items/", "//items", "/items//restock", "/items/1/", "/items/1/restock/",
            "/items/1/2", "/Items", "/reserve/1", "/:id", "items",
        ])
    func noMethods(path: String) {
        #expect(routes.methods(at: path) == [])
    }

    @Test("routes are kept in the order of their declaration")
    func order() {
        #expect(
            routes.routes.map { "\($0.method.rawValue) \($0.path)" } == [
                "GET /items", "GET /items/:id", "PUT /items/:id", "POST /items/:id/restock", "POST /reserve",
            ])
    }
}
