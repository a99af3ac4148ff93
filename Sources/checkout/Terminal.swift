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
        // A terminal that is gone is told of by a signal.
        try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    }

    /// A full screen without echo, on which single keys are read. However its process ends or pauses, the terminal is given back as it
    /// was; only a kill -9 leaves it behind.
    final class Screen: Sendable {
        private let before: termios
        private let isOpen = Mutex(false)

        init() {
            var settings = termios()
            tcgetattr(STDIN_FILENO, &settings)
            before = settings
            open()
        }

        /// Takes the terminal.
        func open() {
            isOpen.withLock { isOpen in
                guard !isOpen else { return }
                isOpen = true
                var settings = before
                settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
                tcsetattr(STDIN_FILENO, TCSANOW, &settings)
                Terminal.write("\u{1B}[?1049h\u{1B}[?25l")
            }
        }

        /// Gives the terminal back.
        func close() {
            isOpen.withLock { isOpen in
                guard isOpen else { return }
                isOpen = false
                var settings = before
                tcsetattr(STDIN_FILENO, TCSANOW, &settings)
                Terminal.write("\u{1B}[?25h\u{1B}[?1049l")
            }
        }

        /// Draws a frame over the one before, without a flicker.
        func draw(_ lines: [String]) {
            isOpen.withLock { isOpen in
                guard isOpen else { return }
                Terminal.write("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
            }
        }

        /// Waits for a key. - Returns: its byte, or nil when the time is over, or there will be no key any more.
        func key(within milliseconds: Int32) -> UInt8? {
            var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, milliseconds) > 0 else { return nil }
            var byte: UInt8 = 0
            // The end of the input is as good as `q`.
            return read(STDIN_FILENO, &byte, 1) == 1 ? byte : UInt8(ascii: "q")
        }

        /// Gives the terminal back at the signals that end or stop a process, and takes it again when it goes on. Ctrl-C is a key like `q`.
        func handleSignals() -> [any DispatchSourceSignal] {
            [
                Self.on(SIGINT) { [self] in
                    close()
                    Foundation.exit(0)
                },
                Self.on(SIGTERM) { [self] in end(by: SIGTERM) },
                Self.on(SIGHUP) { [self] in end(by: SIGHUP) },
                Self.on(SIGTSTP) { [self] in
                    close()
                    // Other threads may run on for a moment: the terminal is taken again only when the process goes on.
                    kill(getpid(), SIGSTOP)
                },
                Self.on(SIGCONT) { [self] in open() },
            ]
        }

        /// Ends the process by the signal itself, so that its parent learns by which.
        private func end(by number: Int32) {
            close()
            signal(number, SIG_DFL)
            kill(getpid(), number)
            // Until the signal is delivered, or if it is not.
            Foundation.exit(128 + number)
        }

        private static func on(_ number: Int32, _ body: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler(handler: body)
            source.resume()
            return source
        }
    }
}
