/// The moments at which a process may die or freeze: before and after every commit that writes, every message that leaves
/// and every message that arrives. They are found by running, and numbered in their order.
final class Points: Sendable {
    /// One such moment.
    struct Point: Sendable, Hashable {
        let number: Int
        let name: String
    }

    private let world = Cell<World?>(nil)
    private let count = Cell(0)
    private let pending = Cell<[Int: String]>([:])
    /// All that were passed, if they are kept.
    let discovered = Cell<[Point]>([])
    /// At which of them a process has died.
    let executed = Cell<[Point]>([])
    /// Numbers of the points at which to die.
    let deaths = Cell<Set<Int>>([])
    /// Set when nothing may die any more.
    let areOver = Cell(false)

    func attach(to world: World?) {
        self.world.value = world
    }

    /// Passes a point, and dies or freezes there if the plan says so.
    ///
    /// - Parameter isCertain: false when only later it is known whether something happens here; `confirm` then says so.
    /// - Returns: the point's number.
    func pass(_ name: String, _ incarnation: Incarnation, isCertain: Bool = true) -> Int {
        guard let world = world.value, !areOver.value, incarnation.isAlive, incarnation.node.role != .client else {
            return 0
        }
        count.value += 1
        let number = count.value
        if isCertain {
            discovered.value.append(Point(number: number, name: name))
        } else {
            pending.value[number] = name
        }
        if deaths.value.contains(number) {
            executed.value.append(Point(number: number, name: name))
            world.crash(incarnation, at: name)
        } else {
            world.faults.atPoint(name, incarnation, in: world)
        }
        return number
    }

    /// Something has happened at this point.
    func confirm(_ number: Int, _ incarnation: Incarnation) {
        guard let name = pending.value.removeValue(forKey: number) else { return }
        discovered.value.append(Point(number: number, name: name))
    }
}
