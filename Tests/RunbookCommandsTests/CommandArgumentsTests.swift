import Testing

@testable import RunbookCommands

@Suite struct CommandArgumentsTests {
    @Test(
        arguments: [
            ([], nil, "{}"),
            (["path=/var"], nil, #"{"path":"/var"}"#),
            (["n=5", "on=true", "none=null", "list=[1, 2]"], nil, #"{"list":[1,2],"n":5,"none":null,"on":true}"#),
            (["text=", "equation=a=b"], nil, #"{"equation":"a=b","text":""}"#),
            // What JSON would read as another number stays as it was written.
            (
                ["code=007", "version=1.10", "big=123456789012345678901234567890"], nil,
                #"{"big":"123456789012345678901234567890","code":"007","version":"1.10"}"#
            ),
            (["a=1"], #"{"b": 2}"#, #"{"a":1,"b":2}"#),
            ([], #"{"b":  1.0}"#, #"{"b":  1.0}"#),
        ] as [([String], String?, String)])
    func wordsBecomeJSON(_ words: [String], _ json: String?, _ expected: String) throws {
        #expect(try CommandArguments.text(of: words, json: json) == expected)
    }

    @Test(
        arguments: [
            (["path"], nil, "write name=value"), (["=1"], nil, "write name=value"),
            (["a=1", "a=2"], nil, "given twice"),
            (["a=1"], #"{"a": 2}"#, "given twice"), ([], "[1]", "no"), ([], "{", "not JSON"),
        ] as [([String], String?, String)])
    func whatIsWrongIsSaid(_ words: [String], _ json: String?, _ problem: String) throws {
        let error = #expect(throws: ClientError.self) { try CommandArguments.text(of: words, json: json) }
        #expect(error?.code == "client.invalid_arguments")
        #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
    }
}
