import ArgumentParser
import Foundation
import OperatorTools
import Resilience
import ServiceKit
import StrictJSON

/// A flag's address. - Throws: `ValidationError`, which ends the command with exit code 64.
func url(_ value: String) throws -> String {
    refusePassword(in: value)
    do {
        return try Settings(flags: ["URL": value], environment: [:]).baseURL("URL", default: value)
    } catch {
        throw ValidationError("it must be an address such as http://127.0.0.1:3131")
    }
}

/// A flag's address that may have a path, as one behind nginx has. - Throws: `ValidationError`.
func urlWithPath(_ value: String) throws -> String {
    refusePassword(in: value)
    do {
        return try Settings(flags: ["URL": value], environment: [:]).baseURL("URL", default: value, mayHavePath: true)
    } catch {
        throw ValidationError("it must be an address such as http://localhost:8080/order")
    }
}

/// Ends the command if a password may stand in a flag's address: what it threw would be told with the value (OP-03).
private func refusePassword(in value: String) {
    guard value.contains("@") else { return }
    note("Error: an address has no user and no password in it\n")
    exit(ArgumentParser.ExitCode.validationFailure.rawValue)
}

/// A flag's time, up to a year. - Throws: `ValidationError`.
func seconds(_ value: String) throws -> Duration {
    do {
        return try Settings(flags: ["TIME": value], environment: [:]).seconds("TIME", default: 0, in: 0...31_536_000)
    } catch {
        throw ValidationError("it must be a number of seconds from 0 to 31536000")
    }
}

/// What every tool's help says of how it ends.
let exitCodes = """
    Exit codes: 0 done; 1 the service said no, and nothing was done (no such record, another state, a plan that is out of \
    date); 64 a flag is wrong; 69 the service cannot be reached; 74 the output cannot be written; 78 an environment \
    variable is wrong.
    """

/// A tool's address: its flag, else its variable, else where `scripts/up` has it. - Throws: how the process ends.
func address(_ flag: String?, _ name: String, _ port: Int) throws -> String {
    do {
        return try flag ?? Settings(flags: [:]).baseURL(name, default: "http://127.0.0.1:\(port)")
    } catch {
        throw ended("\(error)", ArgumentParser.ExitCode(ServiceKit.ExitCode.configuration.rawValue))
    }
}

/// Runs a tool and turns what it throws into a line on standard error and an exit code.
func reporting<T>(_ body: () async throws -> T) async throws -> T {
    do {
        return try await body()
    } catch let error as ToolError {
        throw ended(error.description, ArgumentParser.ExitCode(error.exitCode))
    }
}

/// Says why on standard error. - Returns: the exit code, to be thrown.
func ended(_ message: String, _ code: ArgumentParser.ExitCode) -> ArgumentParser.ExitCode {
    note("Error: \(message)\n")
    return code
}

/// Writes to standard error, for a person. That nobody can read it is no error of its own.
func note(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
}

/// Prints an answer: as it came, on one line, for a program; else as text. - Throws: how the process ends.
func show(_ answer: JSONNode, asJSON: Bool, _ text: (JSONNode) -> String) throws {
    if asJSON { try show(answer.tree) } else { try show(text(answer)) }
}

/// Prints a value on one line, for a program. - Throws: how the process ends.
func show(_ json: JSONValue) throws {
    try show(String(decoding: JSONWriter.bytes { $0.value(json) }, as: UTF8.self))
}

/// Prints a text and the end of its line. - Throws: how the process ends when that fails, as on a disk that is full: a script must not take
/// half an answer for a whole one. (EX_IOERR of sysexits.h.)
func show(_ text: String) throws {
    do {
        try FileHandle.standardOutput.write(contentsOf: Data("\(text)\n".utf8))
    } catch {
        throw ended("the output could not be written: \(error.localizedDescription)", ArgumentParser.ExitCode(74))
    }
}
