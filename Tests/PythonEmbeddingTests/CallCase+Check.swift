import PythonCallCases
import PythonEmbedding
import Testing

extension CallCase {
    func check(_ result: CallResult, sourceLocation: SourceLocation = #_sourceLocation) {
        let problem = problem(with: result)
        #expect(problem == nil, "\(name)", sourceLocation: sourceLocation)
    }
}
