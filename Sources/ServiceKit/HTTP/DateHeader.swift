import Resilience
import Synchronization

/// The value of the `Date` header, made anew each second.
final class DateHeader: Sendable {
    private let time: any TimeSource
    private let latest = Mutex<(second: Int64, text: String)>((.min, ""))

    init(_ time: any TimeSource) {
        self.time = time
    }

    var value: String {
        let now = time.now
        return latest.withLock { latest in
            let second = now.milliseconds / 1000
            if latest.second != second { latest = (second, now.httpDate) }
            return latest.text
        }
    }
}
