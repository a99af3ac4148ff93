import Storage
import Testing

@Suite("SQL value")
struct SQLValueTests {
    @Test("literals and optionals become the value they look like")
    func literals() {
        #expect("text" as SQLValue == .text("text"))
        #expect(7 as SQLValue == .integer(7))
        #expect(nil as SQLValue == .null)
        #expect(SQLValue("text" as String?) == .text("text"))
        #expect(SQLValue(nil as String?) == .null)
        #expect(SQLValue(7 as Int64?) == .integer(7))
        #expect(SQLValue(nil as Int64?) == .null)
    }
}
