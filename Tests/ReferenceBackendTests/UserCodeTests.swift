import ReferenceBackend
import Testing

/// Codes as people type them.
@Suite struct UserCodeTests {
    @Test(arguments: [
        "WDJB-MJHT", "wdjbmjht", " wdjb mjht ", "W-D-J-B-M-J-H-T", "WDJB–MJHT", "\twdjb-MJHT\n",
    ])
    func aCodeIsReadHoweverItIsTyped(text: String) {
        #expect(UserCode(typed: text)?.letters == "WDJBMJHT")
        #expect(UserCode(typed: text).map { "\($0)" } == "WDJB-MJHT")
    }

    @Test(arguments: ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "1DJB-MJHT", "<b>", "WDJB_MJHT", "ẂDJBMJHT"])
    func whatCantBeACodeIsNone(text: String) {
        #expect(UserCode(typed: text) == nil)
    }
}
