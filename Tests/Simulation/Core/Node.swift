/// A machine: what stays when the process on it dies.
final class Node: Sendable {
    enum Role: String, Sendable { case client, order, stock, payment }

    let name: String
    let role: Role
    /// Nil for clients.
    let disk: Disk?
    /// The running process.
    let incarnation = Cell<Incarnation?>(nil)
    /// How wrong the wall clock is.
    let clockError = Cell(Duration.zero)
    /// Until when the disk refuses to be written.
    let diskIsFullUntil = Cell(Duration.zero)
    private let lives = Cell(0)
    private let counts = Cell<[String: Int]>([:])

    init(_ name: String, _ role: Role, disk: Disk?) {
        self.name = name
        self.role = role
        self.disk = disk
    }

    /// How often something has happened here, this time included: makes names for things that happen again and again.
    func count(_ what: String) -> Int {
        counts.value[what, default: 0] += 1
        return counts.value[what, default: 0]
    }

    /// A new process, not started yet.
    func begin(in world: World) -> Incarnation {
        lives.value += 1
        let incarnation = Incarnation(self, number: lives.value, in: world)
        self.incarnation.value = incarnation
        return incarnation
    }
}
