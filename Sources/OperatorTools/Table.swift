/// Columns of text, as wide as their widest cell.
package enum Table {
    /// The rows below their headings. - Parameter right: columns whose cells stand to the right.
    package static func text(_ headings: [String], _ rows: [[String]], right: Set<Int> = []) -> String {
        let all = [headings] + rows.map { $0.map(clean) }
        let widths = headings.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return right.contains(column) ? space + cell : cell + space
            }.joined(separator: "  ").trimmedEnd
        }.joined(separator: "\n")
    }

    /// What a service answered, without control characters: they could tell a terminal to do anything.
    package static func clean(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
                        ? "?" : scalar
                }))
    }
}

extension String {
    fileprivate var trimmedEnd: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
