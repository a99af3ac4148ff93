import Resilience
import ServiceKit
import Testing

private enum Colour: String, CaseIterable { case red, green }

@Suite("Settings")
struct SettingsTests {
    @Test("a flag wins over the environment, the environment over the default (OP-05)")
    func precedence() throws {
        func text(flags: [String: String], environment: [String: String]) throws -> String {
            try Settings(flags: flags, environment: environment).text("DATA_DIR", default: "default")
        }
        #expect(try text(flags: [:], environment: [:]) == "default")
        #expect(try text(flags: [:], environment: ["DATA_DIR": "environment"]) == "environment")
        #expect(try text(flags: ["DATA_DIR": "flag"], environment: ["DATA_DIR": "environment"]) == "flag")
        #expect(try text(flags: ["DATA_DIR": "flag"], environment: [:]) == "flag")
        #expect(try text(flags: ["OTHER_DIR": "flag"], environment: [:]) == "default")
    }

    @Test("names of several words are found in flags and environment alike")
    func longNames() throws {
        let settings = Settings(
            flags: ["GATEWAY_BACKOFF_BASE_SECONDS": "2"], environment: ["CHECKOUT_TIMEOUT_SECONDS": "9"])
        #expect(try settings.seconds("GATEWAY_BACKOFF_BASE_SECONDS", default: 1, in: 0...60) == .seconds(2))
        #expect(try settings.seconds("CHECKOUT_TIMEOUT_SECONDS", default: 30, in: 0...60) == .seconds(9))
    }

    @Test("a value that is set and empty is a fault and not the default")
    func empty() {
        let expected = ConfigurationError("HOST", "is empty; leave it out or give a value")
        #expect(throws: expected) { try Settings(flags: [:], environment: ["HOST": ""]).text("HOST", default: "d") }
        #expect(throws: expected) {
            try Settings(flags: ["HOST": ""], environment: ["HOST": "h"]).text("HOST", default: "d")
        }
    }

    @Test("a bad flag is a fault even if the environment has a good value")
    func badFlag() {
        let settings = Settings(flags: ["PORT": "x"], environment: ["PORT": "80"])
        #expect(throws: ConfigurationError.self) { try settings.integer("PORT", default: 1, in: 0...65_535) }
    }

    @Test("a decimal number within the range is read", arguments: [("0.25", 0.25), ("1", 1), ("1e-1", 0.1)])
    func number(text: String, number: Double) throws {
        let settings = Settings(flags: [:], environment: ["BREAKER_FAILURE_RATE": text])
        #expect(try settings.number("BREAKER_FAILURE_RATE", default: 0.5, in: 0.01...1) == number)
    }

    @Test(
        "another decimal number, or none, names its variable and the range",
        arguments: ["0", "1.1", "half", "nan", "0x1"])
    func badNumber(text: String) {
        let settings = Settings(flags: ["BREAKER_FAILURE_RATE": text], environment: [:])
        let expected = ConfigurationError(
            "BREAKER_FAILURE_RATE", "is '\(text)', but must be a number from 0.01 to 1.0")
        #expect(throws: expected) { try settings.number("BREAKER_FAILURE_RATE", default: 0.5, in: 0.01...1) }
    }

    @Test("a whole number within the range is read", arguments: [("0", 0), ("65535", 65_535), ("8080", 8080)])
    func integer(text: String, number: Int) throws {
        let settings = Settings(flags: [:], environment: ["PORT": text])
        #expect(try settings.integer("PORT", default: 1, in: 0...65_535) == number)
    }

    @Test(
        "another number, or none, names its variable and the range",
        arguments: ["-1", "65536", "80.0", "1e3", "abc", "80 ", " 80", "0x50", "99999999999999999999", "8080/tcp"])
    func badInteger(text: String) {
        let settings = Settings(flags: [:], environment: ["PORT": text])
        #expect(throws: ConfigurationError("PORT", "is '\(text)', but must be a whole number from 0 to 65535")) {
            try settings.integer("PORT", default: 1, in: 0...65_535)
        }
    }

    @Test(
        "seconds are read to the millisecond",
        arguments: [
            ("0", 0), ("30", 30_000), ("0.1", 100), ("2.5", 2500), ("0.0004", 0), ("0.0005", 1), ("1e1", 10_000),
            ("60", 60_000),
        ])
    func seconds(text: String, milliseconds: Int) throws {
        let settings = Settings(flags: [:], environment: ["WAIT": text])
        #expect(try settings.seconds("WAIT", default: 1, in: 0...60) == .milliseconds(milliseconds))
    }

    @Test(
        "seconds out of range, or no number, name their variable",
        arguments: ["-1", "-0.001", "60.001", "nan", "inf", "-inf", "1e400", "5s", "0x10", "abc", " 5", "1,5"])
    func badSeconds(text: String) {
        let settings = Settings(flags: [:], environment: ["WAIT": text])
        #expect(throws: ConfigurationError("WAIT", "is '\(text)', but must be a number of seconds from 0.0 to 60.0")) {
            try settings.seconds("WAIT", default: 1, in: 0...60)
        }
    }

    @Test("a default needs no text")
    func defaults() throws {
        let settings = Settings(flags: [:], environment: [:])
        #expect(try settings.integer("A", default: 7, in: 0...9) == 7)
        #expect(try settings.seconds("A", default: 0.1, in: 0...9) == .milliseconds(100))
        #expect(try settings.flag("A", default: true))
        #expect(try !settings.flag("A", default: false))
        #expect(try settings.choice("A", default: Colour.green) == .green)
        #expect(try settings.baseURL("A", default: "http://127.0.0.1:3133") == "http://127.0.0.1:3133")
    }

    @Test("a word of a choice is read as it is spelled, and another one is refused with the list")
    func choice() throws {
        let good = Settings(flags: [:], environment: ["COLOUR": "red"])
        #expect(try good.choice("COLOUR", default: Colour.green) == .red)
        for text in ["RED", "blue", "red ", "re"] {
            let settings = Settings(flags: [:], environment: ["COLOUR": text])
            #expect(throws: ConfigurationError("COLOUR", "is '\(text)', but must be one of red, green")) {
                try settings.choice("COLOUR", default: Colour.green)
            }
        }
    }

    @Test("a flag is true or false and nothing like it")
    func flag() throws {
        #expect(try Settings(flags: ["A": "true"], environment: [:]).flag("A", default: false))
        #expect(try !Settings(flags: ["A": "false"], environment: [:]).flag("A", default: true))
        for text in ["TRUE", "1", "yes", "0", "no", "on"] {
            let settings = Settings(flags: [:], environment: ["A": text])
            #expect(throws: ConfigurationError("A", "is '\(text)', but must be true or false")) {
                try settings.flag("A", default: false)
            }
        }
    }

    @Test(
        "an address of a service is kept without a slash at its end",
        arguments: [
            ("http://127.0.0.1:3133", "http://127.0.0.1:3133"), ("http://stock:3133/", "http://stock:3133"),
            ("https://stock.example", "https://stock.example"), ("http://[::1]:3133", "http://[::1]:3133"),
        ])
    func baseURL(text: String, url: String) throws {
        let settings = Settings(flags: [:], environment: ["STOCK_BASE_URL": text])
        #expect(try settings.baseURL("STOCK_BASE_URL", default: "http://d") == url)
    }

    @Test(
        "what is no such address names its variable",
        arguments: [
            "stock:3133", "127.0.0.1:3133", "ftp://stock", "http://", "http:///path", "http://stock/path",
            "http://stock//", "http://stock?a=b",
            "http://stock#part", "http://stock:", "http://stock:99999", "file:///etc",
            "/stock", "http://sto ck",
        ])
    func badBaseURL(text: String) {
        let settings = Settings(flags: [:], environment: ["STOCK_BASE_URL": text])
        let error = #expect(throws: ConfigurationError.self) {
            try settings.baseURL("STOCK_BASE_URL", default: "http://d")
        }
        #expect(error?.name == "STOCK_BASE_URL")
        #expect(error?.description.hasPrefix("STOCK_BASE_URL: is '") == true)
        #expect(error?.description.hasSuffix("', but must be an address such as http://d") == true)
    }

    @Test("an address with a password in it is refused, and the password not repeated (OP-03)")
    func passwordInAddress() {
        let name = "STOCK_BASE_URL"
        for text in ["http://user:s3cret@stock:3133", "http://s3cret@stock", "ftp://user:s3cret@stock"] {
            let settings = Settings(flags: [:], environment: [name: text])
            let expected = ConfigurationError(
                name, "must be an address such as http://d, without a user or a password in it")
            #expect(throws: expected) { try settings.baseURL(name, default: "http://d") }
        }
    }

    @Test("an address may have a path where that is said, and then it ends without a slash")
    func baseURLWithPath() throws {
        func read(_ text: String) throws -> String {
            try Settings(flags: [:], environment: ["STRIPE_BASE_URL": text])
                .baseURL("STRIPE_BASE_URL", default: "http://d", mayHavePath: true)
        }
        #expect(try read("http://127.0.0.1:3134/stripe/") == "http://127.0.0.1:3134/stripe")
        #expect(try read("https://stripe") == "https://stripe")
        for text in ["http:///stripe", "http://stripe/?a=b", "ftp://stripe/v1"] {
            #expect(throws: ConfigurationError.self) { try read(text) }
        }
    }
}
