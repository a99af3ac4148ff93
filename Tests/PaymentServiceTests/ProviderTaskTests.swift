import ProviderAPI
import Resilience
import ServiceClient
import Testing

@testable import PaymentService

@Suite("What follows from a provider's answer")
struct ProviderTaskTests {
    private static let schedule = BackoffSchedule(maximumAttempts: 3)

    /// Gives a task one answer after another. - Returns: what followed from the last.
    private func run(_ task: inout ProviderTask, _ replies: ProviderReply...) -> ProviderTask.Decision? {
        var last: ProviderTask.Decision?
        for reply in replies {
            task.begin(isAbandoned: false, maximumAttempts: Self.schedule.maximumAttempts, mayEnd: true)
            last = task.next(after: reply, Self.schedule, mayEnd: true)
        }
        return last
    }

    private func isWait(_ decision: ProviderTask.Decision?, _ wait: Duration? = nil) -> Bool {
        guard case .wait(let found, _)? = decision else { return false }
        return wait.map { $0 == found } ?? true
    }

    private func isGivenUp(_ decision: ProviderTask.Decision?) -> Bool {
        guard case .giveUp? = decision else { return false }
        return true
    }

    @Test("a definite answer ends it: the money has moved, or was declined")
    func definite() {
        var task = ProviderTask(isRefund: false)
        #expect(run(&task, .succeeded) == .succeed)
        var declined = ProviderTask(isRefund: false)
        #expect(
            run(&declined, .declined(code: "card_declined"))
                == .fail(declineCode: "card_declined", because: "declined: card_declined"))
    }

    @Test("a refusal other than a decline is final as long as nothing may have been taken before")
    func refusal() {
        var task = ProviderTask(isRefund: false)
        #expect(
            run(&task, .throttled(after: nil), .refused(code: "validation-failed", detail: "no"))
                == .fail(declineCode: nil, because: "refused: validation-failed"))
        var unknown = ProviderTask(isRefund: false)
        #expect(isWait(run(&unknown, .unknown(.timedOut), .refused(code: "unauthorized", detail: "no"))))
        #expect(unknown.phase == .close)
    }

    @Test("waits grow from 1 s, and a provider's own wait is kept, up to ten minutes")
    func waits() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .notSent(.unreachable)), .seconds(1)))
        #expect(isWait(run(&task, .notSent(.unreachable)), .seconds(2)))
        var throttled = ProviderTask(isRefund: false)
        #expect(isWait(run(&throttled, .throttled(after: .seconds(90))), .seconds(90)))
        #expect(isWait(run(&throttled, .throttled(after: .seconds(9000))), .seconds(600)))
    }

    @Test("when no attempt can have been taken, the last one gives up")
    func notTaken() {
        var task = ProviderTask(isRefund: false)
        #expect(isGivenUp(run(&task, .notSent(.unreachable), .throttled(after: nil), .notSent(.unreachable))))
    }

    @Test(
        "what is too young to be given up is neither given up nor closed, however often nobody answers",
        arguments: [false, true])
    func young(isTaken: Bool) {
        var task = ProviderTask(isRefund: false)
        for _ in 0..<50 {
            task.begin(isAbandoned: isTaken, maximumAttempts: Self.schedule.maximumAttempts, mayEnd: false)
            let reply = isTaken ? ProviderReply.unknown(.timedOut) : .throttled(after: nil)
            #expect(isWait(task.next(after: reply, Self.schedule, mayEnd: false)))
            #expect(task.phase == .send)
        }
        #expect(isWait(task.next(after: .notSent(.unreachable), Self.schedule, mayEnd: false), .seconds(30)))
        // Old enough at last.
        let end = run(&task, .notSent(.unreachable))
        #expect(isTaken ? isWait(end) && task.phase == .close : isGivenUp(end))
    }

    @Test(
        "when one attempt may have been taken, the last one does not give up: the payment is closed, and then it is known"
    )
    func closing() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .unknown(.timedOut), .notSent(.unreachable), .notSent(.unreachable))))
        #expect(task.phase == .close && task.attempts == 3)
        // However long it takes.
        for _ in 0..<50 { #expect(isWait(run(&task, .unknown(.timedOut)))) }
        #expect(task.attempts == 3)
        var taken = task
        #expect(run(&taken, .succeeded) == .succeed)
        var declined = task
        #expect(run(&declined, .declined(code: "x")) == .fail(declineCode: "x", because: "declined: x"))
        #expect(isGivenUp(run(&task, .canceled)))
    }

    @Test("closing waits at most the longest backoff, and a refusal to close says nothing")
    func closingPace() {
        var task = ProviderTask(phase: .close, attempts: 3, rounds: 20, mayBeTaken: true, isRefund: false)
        #expect(isWait(run(&task, .notSent(.unreachable)), .seconds(30)))
        #expect(isWait(run(&task, .refused(code: "unauthorized", detail: "")), .seconds(30)))
        #expect(task.phase == .close)
    }

    @Test("what the provider settles later is asked about for as long as it takes, and never sent again")
    func pending() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .pending)))
        #expect(task.phase == .ask)
        for _ in 0..<20 { #expect(isWait(run(&task, .pending))) }
        #expect(isWait(run(&task, .unknown(.timedOut))))
        #expect(task.attempts == 1 && task.phase == .ask)
        #expect(run(&task, .succeeded) == .succeed)
    }

    @Test("what the provider has taken up and then does not know is closed before anything is given back")
    func forgotten() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .pending, .notFound)))
        #expect(task.phase == .close)
        #expect(isGivenUp(run(&task, .canceled)))
    }

    @Test("a provider that refuses to tell where a payment stands is asked to close it")
    func untold() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .pending, .refused(code: "no-such-resource", detail: ""))))
        #expect(task.phase == .close)
        #expect(run(&task, .succeeded) == .succeed)
        var refund = ProviderTask(phase: .ask, attempts: 1, rounds: 1, mayBeTaken: true, isRefund: true)
        #expect(isWait(run(&refund, .refused(code: "no-such-resource", detail: ""))))
        #expect(refund.phase == .ask, "a refund cannot be closed")
    }

    @Test("what the provider now knows and now does not is asked about ever more slowly")
    func alternating() {
        var task = ProviderTask(isRefund: false)
        #expect(isWait(run(&task, .pending), .seconds(1)))
        for _ in 0..<10 {
            #expect(isWait(run(&task, .notFound)) && task.phase == .close)
            #expect(isWait(run(&task, .pending)) && task.phase == .ask)
        }
        #expect(isWait(run(&task, .notFound), .seconds(30)))
        #expect(isWait(run(&task, .pending), .seconds(30)))
    }

    @Test("an answer about other money settles nothing, however often it comes, and stays at a bounded pace")
    func contradicted() {
        let other = ProviderReply.contradicted("charge of 1 USD instead of charge of 100 USD")
        for isRefund in [false, true] {
            var task = ProviderTask(isRefund: isRefund)
            for _ in 0..<3 { #expect(isWait(run(&task, other))) }
            #expect(task.mayBeTaken && task.phase == (isRefund ? .send : .close))
            for _ in 0..<50 { #expect(isWait(run(&task, other))) }
            #expect(isWait(run(&task, other), .seconds(30)))
            #expect(run(&task, .succeeded) == .succeed)
        }
        var asking = ProviderTask(phase: .ask, attempts: 1, rounds: 1, mayBeTaken: true, isRefund: false)
        #expect(isWait(run(&asking, other)) && asking.phase == .ask)
        var refused = ProviderTask(isRefund: false)
        #expect(isWait(run(&refused, other, .refused(code: "validation-failed", detail: "no"))))
        #expect(refused.phase == .close, "what it has taken for us is not known")
    }

    @Test("an asking of a worker that fell silent may have been taken")
    func abandoned() {
        var task = ProviderTask(isRefund: false)
        task.begin(isAbandoned: false, maximumAttempts: 3, mayEnd: true)
        task.begin(isAbandoned: true, maximumAttempts: 3, mayEnd: true)
        #expect(task.mayBeTaken && task.attempts == 2)
        #expect(isWait(task.next(after: .refused(code: "x", detail: ""), Self.schedule, mayEnd: true)))
        #expect(task.phase == .close)
        var last = ProviderTask(phase: .send, attempts: 3, rounds: 3, mayBeTaken: false, isRefund: false)
        last.begin(isAbandoned: true, maximumAttempts: 3, mayEnd: true)
        #expect(last.phase == .close && last.attempts == 3)
    }

    @Test("an asking that was not made does not count")
    func takenBack() {
        var task = ProviderTask(isRefund: false)
        let before = task
        task.begin(isAbandoned: false, maximumAttempts: 3, mayEnd: true)
        task.takeBack()
        #expect(task == before)
    }

    @Test("a refund that may have been made is asked for until its outcome is known; only then is it given up")
    func refund() {
        var task = ProviderTask(isRefund: true)
        #expect(isWait(run(&task, .unknown(.timedOut))))
        for _ in 0..<50 { #expect(isWait(run(&task, .notSent(.unreachable)))) }
        // That there is nothing of the name, any router says that lacks the route.
        for code in ["unauthorized", "not-found"] {
            #expect(isWait(run(&task, .refused(code: code, detail: ""))))
            #expect(task.phase == .send)
        }
        var refused = task
        #expect(isGivenUp(run(&refused, .refused(code: "refund-exceeds-payment", detail: ""))))
        #expect(run(&task, .succeeded) == .succeed)
        var unreached = ProviderTask(isRefund: true)
        #expect(isGivenUp(run(&unreached, .notSent(.unreachable), .notSent(.unreachable), .notSent(.unreachable))))
    }
}
