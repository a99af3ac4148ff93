import Foundation
import Hummingbird

extension ServiceContext {
    /// A part of the path, as it was meant: percent escapes are resolved, which the router leaves to us.
    ///
    /// - Parameter name: as in the route's template, for example `id`.
    /// - Throws: `Problem` 404 for one that is no UTF-8: nothing can have that name.
    public func pathParameter(_ name: String) throws -> String {
        let written = try parameters.require(name)
        guard written.utf8.contains(UInt8(ascii: "%")) else { return written }
        guard let text = written.removingPercentEncoding else {
            throw Problem(.notFound, "There is nothing at this address.")
        }
        return text
    }
}
