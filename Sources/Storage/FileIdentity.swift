#if canImport(Glibc)
    import CStatx
    import Glibc
#else
    import Darwin
#endif

/// Which file stands at a path: its inode, and when it was made, since a file system may give the inode of a file that was removed to the next
/// that is made. Not on which device: that has another number each time when devices are found in another order.
struct FileIdentity: Equatable, CustomStringConvertible {
    let inode: UInt64
    /// Seconds and nanoseconds; nil where nobody knows.
    let made: String?

    init(inode: UInt64, made: String?) {
        self.inode = inode
        self.made = made
    }

    /// The file at a path; nil if there is none.
    init?(at path: String) {
        #if canImport(Glibc)
            var file = cstatx_file()
            if cstatx_look(path, &file) == 0 {
                let made = "\(file.made_seconds).\(file.made_nanoseconds)"
                self.init(inode: UInt64(file.inode), made: made == "0.0" ? nil : made)
                return
            }
        #endif
        // Some sandboxes forbid the newer call.
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(inode: UInt64(status.st_ino), made: nil)
    }

    /// Reads what `description` has written, or a version before, which noted the inode alone.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: " ")
        guard let inode = parts.first.flatMap({ UInt64($0) }) else { return nil }
        self.init(inode: inode, made: parts.count > 1 ? String(parts[1]) : nil)
    }

    var description: String { made.map { "\(inode) \($0)" } ?? "\(inode)" }

    /// Whether it may be the same file, as far as both are known.
    func isSame(as other: FileIdentity) -> Bool {
        guard inode == other.inode else { return false }
        guard let made, let otherMade = other.made else { return true }
        return made == otherMade
    }
}
