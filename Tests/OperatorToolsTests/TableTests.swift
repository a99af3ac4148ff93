import Testing

@testable import OperatorTools

@Suite("Tables")
struct TableTests {
    @Test("columns are as wide as their widest cell, and no line ends with a space")
    func widths() {
        let text = Table.text(["NAME", "N"], [["a", "1"], ["longer", "100"]], right: [1])
        #expect(text == "NAME      N\na         1\nlonger  100")
    }

    @Test("what a service answers cannot drive the terminal")
    func control() {
        #expect(Table.clean("a\u{1B}[2Jb\nc\u{202E}") == "a?[2Jb?c?")
    }
}
