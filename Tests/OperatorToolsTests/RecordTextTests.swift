import Resilience
import StrictJSON
import Testing

@testable import OperatorTools

@Suite("What operators read")
struct RecordTextTests {
    private let now = Timestamp(milliseconds: 1_767_225_600_000)  // 2026-01-01T00:00:00Z

    private func json(_ text: String) throws -> JSONValue { try JSONParser.parse(text.utf8) }

    @Test("a list has a line for each checkout, with its age and what is at stake, and says how to go on")
    func sagas() throws {
        let page = try json(
            #"""
            {"sagas":[{"orderId":"o-1","user":"ann","state":"parked","step":"charging","createdAt":"2025-12-31T23:50:00.000Z",
            "rounds":8,"parkedFor":"charging: no definite answer in 8 rounds","atStake":{"amount":2000,"currency":"USD"}}],
            "nextCursor":"o-1"}
            """#)
        #expect(
            RecordText.sagas(page, now: now) == """
                ORDER  STATE   STEP      AGE  ROUNDS   AT STAKE  USER  PARKED FOR
                o-1    parked  charging  10m       8  20.00 USD  ann   charging: no definite answer in 8 rounds
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

    @Test("an answer of another version, with nothing in it that is known, is still shown")
    func unknownAnswer() throws {
        for text in ["{}", "[]", "null", #"{"sagas":[{}]}"#, #"{"sagas":{"a":1}}"#] {
            let answer = try json(text)
            _ = RecordText.sagas(answer, now: now)
            _ = RecordText.saga(answer, now: now)
            _ = RecordText.charge(answer, now: now)
            _ = RecordText.reservation(answer, now: now)
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
