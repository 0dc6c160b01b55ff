import Quantities
import Testing

@Suite struct QuantitiesTests {
    @Test(arguments: [
        ("90", 90), ("90 s", 90), ("1.5 min", 90), ("0.5h", 1800), ("2 d", 172_800), ("250 ms", 0.25), ("1 MIN", 60),
    ])
    func timesAreSecondsOrHaveAUnit(_ text: String, _ seconds: Double) {
        #expect(TimeQuantity.seconds(text) == seconds)
    }

    @Test(arguments: ["", "s", "-1", "1,5", "1 m", "1 hour", "1e3", "0x10", "٣", "1.2.3"])
    func whatIsNoTimeIsNone(_ text: String) {
        #expect(TimeQuantity.seconds(text) == nil)
    }

    @Test(arguments: [
        ("0", 0), ("512", 512), ("4 KiB", 4096), ("16MiB", 16 << 20), ("1 gib", 1 << 30), ("2 TiB", 2 << 40),
    ])
    func sizesAreBytesOrHaveAUnit(_ text: String, _ bytes: Int) {
        #expect(SizeQuantity.bytes(text) == bytes)
    }

    @Test(arguments: ["", "MiB", "-1", "1.5 MiB", "1 MB", "1 M", "9223372036854775807 KiB", "99999999999999999999"])
    func whatIsNoSizeIsNone(_ text: String) {
        #expect(SizeQuantity.bytes(text) == nil)
    }
}
