import Resilience
import StrictJSON
import Testing

@testable import OperatorTools

@Suite("What operators read")
struct RecordTextTests {
    private let now = Timestamp(milliseconds: 1_767_225_600_000)  // 2026-01-01T00:00:00Z

    private func json(_ text: String) throws -> JSONNode { try JSONParser.parse(text.utf8) }

    @Test("a list has a line for each checkout, with its age and what is at stake, and says how to go on")
    func sagas() throws {
        let page = try json(
            #"""
            {"sagas":[{"orderId":"o-1","user":"ann","state":"parked","step":"charging","createdAt":"2025-12-31T23:50:00.000Z",
            "rounds":8,"parkedFor":"charging: not done in 8 rounds","atStake":{"amount":2000,"currency":"USD"}}],
            "nextCursor":"o-1"}
            """#)
        #expect(
            RecordText.sagas(page, now: now) == """
                ORDER  STATE   STEP      AGE  ROUNDS   AT STAKE  USER  PARKED FOR
                o-1    parked  charging  10m       8  20.00 USD  ann   charging: not done in 8 rounds
                There is more: --cursor o-1
                """)
        #expect(
            try RecordText.sagas(json(#"{"sagas":[],"nextCursor":null}"#), now: now)
                == "No checkout is in this state.")
    }

    @Test("a checkout's history, its failed attempts and what operators did are one story in the order of time")
    func saga() throws {
        let saga = try json(
            #"""
            {"orderId":"o-1","user":"","state":"parked","step":"charging","createdAt":"2025-12-31T23:59:00.000Z",
            "parkedBy":"ann","parkedFor":"by an operator: looks odd","lines":[{"itemId":1,"quantity":2}],
            "history":[{"at":"2025-12-31T23:59:00.000Z","event":"created"},
            {"at":"2025-12-31T23:59:03.000Z","event":"charge outcome unknown: timedOut"}],
            "attempts":[{"sequence":40,"at":"2025-12-31T23:59:02.000Z","call":"charge","attempt":2,"answer":"no definite answer"}],
            "actions":[{"at":"2025-12-31T23:59:10.000Z","action":"park","operator":"ann","reason":"looks\nodd"}]}
            """#)
        #expect(
            RecordText.saga(saga, now: now) == """
                order           o-1
                state           parked by ann: by an operator: looks odd
                waits for       charging
                made            2025-12-31T23:59:00.000Z, 60s ago
                goods           2 of item 1

                What happened
                  2025-12-31T23:59:00.000Z  created
                  2025-12-31T23:59:02.000Z      charge, attempt 2: no definite answer
                  2025-12-31T23:59:03.000Z  charge outcome unknown: timedOut
                  2025-12-31T23:59:10.000Z  ** park by ann: looks?odd
                (40 attempts failed; the first and the last are shown)
                """)
    }

    @Test("a plan says what would happen, that nothing did, and how to do it")
    func plan() throws {
        let plan = try json(
            #"""
            {"orderId":"o-1","action":"compensate","plan":"00ff","from":"charging","to":"releasing","summary":"Back.",
            "calls":[{"service":"stock","operation":"release","id":"r-1","effect":"2 of item 1: back into the stock"}]}
            """#)
        #expect(
            RecordText.plan(plan, commit: "checkout sagas compensate o-1 --commit 00ff") == """
                action          compensate
                now             charging
                then            releasing
                in short        Back.

                The calls, if each succeeds
                  1. stock release r-1
                     2 of item 1: back into the stock

                Nothing was done. To do it:
                  checkout sagas compensate o-1 --commit 00ff
                """)
    }

    @Test("a plan of somebody who has not said why prints no command, but that it needs a reason")
    func planWithoutReason() throws {
        let text = try RecordText.plan(json(#"{"action":"park"}"#), commit: nil)
        #expect(text.contains("Nothing was done. To do it, say why: with --reason TEXT"))
        #expect(!text.contains("checkout "))
    }

    @Test("a payment that was given up says why, what became of it, and what operators did")
    func deadLetters() throws {
        let letter = #"""
            {"reason":"it cannot be reached","diedAt":"2025-12-31T23:50:00.000Z","resolution":"retried",
            "resolvedAt":"2025-12-31T23:55:00.000Z","retriedAs":"p-2","payment":{"paymentId":"p-1","type":"withdraw",
            "status":"failed","provider":"stripe","sourceAccountId":"a-1","userId":"ann",
            "amount":{"amount":10000,"currency":"USD"},"fee":{"amount":200,"currency":"USD"},"attempts":5,
            "createdAt":"2025-12-31T23:40:00.000Z"},"actions":[{"at":"2025-12-31T23:55:00.000Z","action":"retry",
            "operator":"eve","reason":"it is back","plan":"00ff"}]}
            """#
        #expect(
            try RecordText.deadLetters(json(#"{"deadLetters":[\#(letter)],"nextCursor":null}"#), now: now) == """
                PAYMENT  TYPE      GIVEN UP      AMOUNT  PROVIDER  USER  STATE    BECAUSE
                p-1      withdraw       10m  100.00 USD  stripe    ann   retried  it cannot be reached
                """)
        let contradicted = letter.replacing("{\"reason\"", with: "{\"isSaidToHaveMoved\":true,\"reason\"")
        let page = try json(#"{"deadLetters":[\#(contradicted)],"nextCursor":null}"#)
        #expect(RecordText.deadLetters(page, now: now).hasSuffix("said to have moved; it cannot be reached"))
        #expect(
            try RecordText.deadLetter(json(letter), now: now) == """
                payment         p-1
                type            withdraw
                user            ann
                account         a-1
                provider        stripe
                amount          100.00 USD
                fee             2.00 USD
                made            2025-12-31T23:40:00.000Z, 20m ago
                sent            5 times
                given up        2025-12-31T23:50:00.000Z, 10m ago
                because         it cannot be reached
                state           retried
                made anew as    p-2

                What operators did
                  2025-12-31T23:55:00.000Z  ** retry by eve: it is back
                """)
    }

    @Test("an answer of another version, with nothing in it that is known, is still shown")
    func unknownAnswer() throws {
        for text in ["{}", "[]", "null", #"{"sagas":[{}]}"#, #"{"sagas":{"a":1}}"#] {
            let answer = try json(text)
            _ = RecordText.sagas(answer, now: now)
            _ = RecordText.saga(answer, now: now)
            _ = RecordText.charge(answer, now: now)
            _ = RecordText.reservation(answer, now: now)
            _ = RecordText.deadLetters(answer, now: now)
            _ = RecordText.deadLetter(answer, now: now)
            #expect(RecordText.plan(answer, commit: "x").contains("Nothing was done"))
        }
    }

    @Test(
        "ages are told in the unit that says enough",
        arguments: [(1, "1s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")])
    func age(seconds: Int64, text: String) {
        let made = now.advanced(by: .seconds(-seconds))
        #expect(RecordText.age(made.description, now) == text)
        #expect(RecordText.age("yesterday", now) == "?")
    }
}
