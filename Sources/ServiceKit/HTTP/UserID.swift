/// The names of users, wherever a request spells them.
package enum UserID {
    /// What `isValid` allows, for a document.
    package static let pattern = "^[A-Za-z0-9._:@-]{1,128}$"

    /// Whether a text can name a user: 1 to 128 letters, digits and `._:@-`.
    package static func isValid(_ text: String) -> Bool { EnvelopeMiddleware.isUserID(text) }
}
