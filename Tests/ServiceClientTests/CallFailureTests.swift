import Resilience
import ServiceClient
import Testing

@Suite("Call failure")
struct CallFailureTests {
    @Test(
        "only a refusal is for good; all else may be asked again",
        arguments: [
            (.refused(Refusal(code: "insufficient-stock", detail: "")), false),
            (.notSent(.unreachable), true), (.notSent(.timedOut), true), (.notExecuted(.unavailable), true),
            (.unknown(.timedOut), true), (.unknown(.connectionLost), true), (.unknown(.garbled), true),
            (.unknown(.inProgress), true),
        ] as [(CallFailure, Bool)])
    func mayBeRepeated(failure: CallFailure, mayBeRepeated: Bool) {
        #expect(failure.mayBeRepeated == mayBeRepeated)
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
