/// The names of users, wherever a request spells them.
package enum UserID {
    /// What `isValid` allows, for a document.
    package static let pattern = "^[A-Za-z0-9._:@-]{1,128}$"

    /// Whether a text can name a user: 1 to 128 letters, digits and `._:@-`.
    package static func isValid(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: "._:@-".utf8.contains(byte)
                }
            }
    }
}

extension Problem {
    static var userIDInvalid: Problem {
        Problem(.userIDInvalid, "X-User-ID must be one value of 1 to 128 letters, digits or any of . _ : @ -")
    }
}
