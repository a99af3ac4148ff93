import Foundation
import Synchronization

/// The terminal that a tool runs in: its size, its keys, and a screen that is given back as it was.
enum Terminal {
    static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1 }

    /// Whether colours are wanted (no-color.org) and can be shown.
    static func hasColour(_ descriptor: Int32 = STDOUT_FILENO) -> Bool {
        let environment = ProcessInfo.processInfo.environment
        return isatty(descriptor) == 1 && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }

    /// Columns and lines, asked for anew each time, since a window may change: the terminal's, else those of the environment.
    static var size: (width: Int, height: Int) {
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 {
            return (Int(size.ws_col), Int(size.ws_row))
        }
        let environment = ProcessInfo.processInfo.environment
        return (environment["COLUMNS"].flatMap { Int($0) } ?? 80, environment["LINES"].flatMap { Int($0) } ?? 24)
    }

    static func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    /// A full screen without echo, on which single keys are read.
    struct Screen {
        private let before: termios

        init() {
            var settings = termios()
            tcgetattr(STDIN_FILENO, &settings)
            before = settings
            settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
            tcsetattr(STDIN_FILENO, TCSANOW, &settings)
            Terminal.write("\u{1B}[?1049h\u{1B}[?25l")
        }

        /// Draws a frame over the one before, without a flicker.
        func draw(_ lines: [String]) {
            Terminal.write("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
        }

        /// Waits for a key. - Returns: its byte, or nil when the time is over, or there will be no key any more.
        func key(within milliseconds: Int32) -> UInt8? {
            var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, milliseconds) > 0 else { return nil }
            var byte: UInt8 = 0
            // The end of the input is as good as `q`.
            return read(STDIN_FILENO, &byte, 1) == 1 ? byte : UInt8(ascii: "q")
        }

        func close() {
            var settings = before
            tcsetattr(STDIN_FILENO, TCSANOW, &settings)
            Terminal.write("\u{1B}[?25h\u{1B}[?1049l")
        }
    }
}
