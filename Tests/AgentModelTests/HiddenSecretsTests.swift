import AgentModel
import Diagnostics
import Testing

@Suite struct HiddenSecretsTests {
    @Test(arguments: [
        ("Unsupported proxy syntax in 'http://user:secret@127.0.0.1:99999'", "in 'http://(hidden)@127.0.0.1:99999'"),
        ("http://user:sec/ret@host:1 failed", "http://(hidden)@host:1 failed"),
        ("see https://token@host/x and ftp://a:b@c", "see https://(hidden)@host/x and ftp://(hidden)@c"),
        ("http://user:p@ss@host/", "http://(hidden)@host/"),
    ])
    func theUserInformationOfAnyURLIsHidden(_ text: String, _ shown: String) {
        #expect(HiddenSecrets.hidden(in: text).hasSuffix(shown) || HiddenSecrets.hidden(in: text) == shown)
        for secret in ["secret", "sec/ret", "token@", "a:b", "p@ss"] {
            #expect(!HiddenSecrets.hidden(in: text).contains(secret))
        }
    }

    @Test(arguments: [
        "https://host:8443/@scope/package", "mail to a@b.example", "http://host/path?mail=a@b", "http://[::1]:1/@x",
        "@",
    ])
    func whatIsNoUserInformationStays(_ text: String) {
        #expect(HiddenSecrets.hidden(in: text) == text)
    }

    @Test func whatWasRegisteredIsHidden() {
        HiddenSecrets.add(["hidden-secrets-test-1", "hidden-secrets-test-1-longer", "short"])
        let text = "a hidden-secrets-test-1, hidden-secrets-test-1-longer, short"
        #expect(HiddenSecrets.hidden(in: text) == "a (hidden), (hidden), short")
    }
}
