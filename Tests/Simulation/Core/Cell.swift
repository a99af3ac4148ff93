/// A variable of the simulation.
///
/// Unchecked: a simulation runs on one thread, that of its driver, and no part of it ever leaves that thread; the types that
/// must be `Sendable` because production code is asynchronous keep what changes in cells.
final class Cell<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) {
        self.value = value
    }
}
