import Resilience
import ServiceClient
import Testing

@Suite("Call failure")
struct CallFailureTests {
    @Test(
        "only a refusal is definite, and only what is known not to have run is plainly retryable",
        arguments: [
            (.refused(Refusal(code: "insufficient-stock", detail: "")), .definite),
            (.notSent(.unreachable), .retryable), (.notSent(.timedOut), .retryable),
            (.notExecuted(.unavailable), .retryable),
            (.unknown(.timedOut), .unknown), (.unknown(.connectionLost), .unknown), (.unknown(.garbled), .unknown),
            (.unknown(.inProgress), .unknown),
        ] as [(CallFailure, FailureClass)])
    func failureClass(failure: CallFailure, failureClass: FailureClass) {
        #expect(failure.failureClass == failureClass)
    }

    @Test("the wait that the other side asks for is handed on")
    func retryAfter() {
        #expect(CallFailure.notExecuted(.unavailable, retryAfter: .seconds(3)).retryAfter == .seconds(3))
        #expect(CallFailure.unknown(.inProgress, retryAfter: .seconds(2)).retryAfter == .seconds(2))
        #expect(CallFailure.unknown(.timedOut).retryAfter == nil)
        #expect(CallFailure.notSent(.unreachable).retryAfter == nil)
        #expect(CallFailure.refused(Refusal(code: "c", detail: "d")).retryAfter == nil)
    }
}
